"""A few steps of a trial on the actual device: seconds and peak memory, before anything is promised.

``python -m far.train.probe SPEC`` runs it in a process of its own, so that the peak is the trial's alone.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from far.config.trial import TrialConfig
from far.data.loader import EvalStream
from far.distributed import join_world
from far.plugins import load_code
from far.plugins.kept import kept_code
from far.store.environment import environment
from far.store.paths import TrialPaths
from far.train.memory import peak_memory


@dataclass(frozen=True)
class Probe:
    """What was measured.

    Attributes:
        step_seconds: median of an optimiser step, data included.
        view_seconds: median of one view in evaluation, data included.
        steps: optimiser steps of the whole trial.
        views: views that the whole trial evaluates.
        memory: peak bytes on the device, on a CPU of the process.
        device: its name.
    """

    step_seconds: float
    view_seconds: float
    steps: int
    views: int
    memory: int
    device: str

    @property
    def seconds(self) -> float:
        """The whole trial's wall clock, extrapolated."""
        return self.step_seconds * self.steps + self.view_seconds * self.views


def probe(
    config: TrialConfig, data_root: Path, *, weights_root: Path = Path(), steps: int = 6, warmup: int = 2
) -> Probe:
    """Train a few steps and evaluate a few views of a trial; nothing is kept.

    Args:
        config: the trial; it runs on one device whatever ``run.devices`` says.
        data_root: folder of data sets.
        weights_root: where a relative ``init.weights`` is looked for.
        steps: optimiser steps, and batches of views, that are timed.
        warmup: steps before that, which are not.
    """
    from far.train.trial import TrialRun

    world = join_world(cpus=config.run.cpus)
    with tempfile.TemporaryDirectory(prefix="farlab-probe-") as scratch:
        paths = TrialPaths(Path(scratch) / "probe")
        paths.directory.mkdir()
        run = TrialRun(config, {}, paths, world, data_root=data_root, weights_root=weights_root)
        try:
            step = _median(_steps(run), steps, warmup, world.device)
            stream = EvalStream(run.manifest, config, rank=0, world=1, micro_batch=run.micro, device=world.device)
            view = _median(_views(run, stream), steps, 1, world.device)
            memory = peak_memory(world.device)
        finally:
            run.close()
    views = config.data.views.clips * config.data.views.crops
    return Probe(
        step_seconds=step,
        view_seconds=view,
        steps=run.schedule.total_steps,
        views=stream.expected * (config.recipe.epochs + views),
        memory=memory,
        device=str(environment(world.device)["device"]),
    )


def _steps(run: Any) -> Any:
    """Run optimiser steps one by one, yielding 1 after each."""
    run.engine.train()
    accumulation = run.engine.gradient_accumulation_steps()
    for index, batch in enumerate(itertools.chain.from_iterable(map(run.stream.epoch, itertools.count()))):
        run.engine.backward(run.loss(batch, 0))
        run.engine.step()
        if (index + 1) % accumulation == 0:
            yield 1


def _views(run: Any, stream: Any) -> Any:
    """Evaluate batches of views, yielding the size of each."""
    import torch

    run.engine.eval()
    with torch.inference_mode():
        for batch in itertools.chain.from_iterable(itertools.repeat(stream)):
            run.engine(batch.clips.to(run.world.device, run.dtype))
            yield len(batch.clips)


def _median(work: Any, count: int, warmup: int, device: Any) -> float:
    """Return the median seconds of an item of the work; queued device work is waited for."""
    import torch

    seconds = []
    started = time.perf_counter()
    for done, items in enumerate(work, start=1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        seconds.append((now - started) / items)
        started = now
        if done == warmup + count:
            break
    work.close()
    return statistics.median(seconds[warmup:] or seconds)


def main() -> None:
    """Read configuration and roots from the JSON file that the command line names; print the probe as JSON."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for record in spec.get("plugins") or ():
        load_code(kept_code(record, Path(sys.argv[1]).parent))
    config, roots = TrialConfig.model_validate(spec["config"]), (spec["data_root"], spec.get("weights_root", "."))
    measured = probe(config, Path(roots[0]), weights_root=Path(roots[1]))
    print(json.dumps({**asdict(measured), "seconds": measured.seconds}))


if __name__ == "__main__":
    main()
