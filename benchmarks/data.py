"""Speed of the data path: ``python benchmarks/data.py [--videos 25] [--turns 7] [--epochs 2] [--json]``. On one core.

- *loader*: clips a second of the whole loader (worker process, sampling, resizing, normalising, batching) over those of
  bare decord ``get_batch`` with the same frame numbers on the same files, which take turns: median of the turns and
  their range; goal 0.95. *loader_cpu* is the ratio of processor times, for machines that others use as well.
- *cached*: the same once decoded videos lie in the cache on disk, over those that the loader decodes; no goal, the disk
  decides. *cached_cpu* is the ratio of processor times.
- *augmented*: the same with the paper's augmentation, per decoded video (two clips each); no goal, it is arithmetic.
- *waiting*: share of the demo's training time that the training loop waits for data, from the second epoch on (the
  first decodes): goal at most 0.05.

With ``--opens 10000`` it opens so many files instead and tells the memory (resident, MiB) of this process and of the
decoding worker that lives at the time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from far.architecture.sampling import sampler as make_sampler
from far.config import TrialConfig, parse_override, resolve
from far.data.decoding.cache import DecodedFrames, FrameSource, open_frames
from far.data.decoding.indexes import open_indexes
from far.data.decoding.pool import POOL
from far.data.loader import TrainStream
from far.data.sources.demo_writer import write_video
from far.data.sources.layouts import read_listing
from far.data.sources.manifest import Manifest
from far.data.sources.open import open_manifest
from far.data.sources.prepare import prepare
from far.randomness import numpy_rng
from orchestrator.study.profiles import find_profile, packaged_studies

LENGTH, HEIGHT, WIDTH = 110, 240, 427
"""Frames and size of a typical Something-Something video (about 4 s at 240 lines)."""
AUGMENTED = (
    "recipe.augment.repeats=2",
    "recipe.augment.randaug_ops=4",
    "recipe.augment.crop=true",
    "recipe.augment.erasing=0.25",
    "recipe.augment.mixup=0.8",
    "recipe.augment.cutmix=1.0",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=25)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--opens", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.opens:
        opening(arguments.opens)
        return
    import torch

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="farlab-bench-") as folder:
        manifest = videos(Path(folder), arguments.videos)
        numbers = loading(manifest, arguments.turns)
        if not arguments.json:
            show(numbers)
        numbers |= (last := waiting(Path(folder), arguments.epochs))
    if arguments.json:
        print(json.dumps(numbers, indent=1))
        return
    show(last)
    print(f"goals: loader >= 0.95: {numbers['loader']:.2f}, waiting <= 0.05: {numbers['waiting']:.3f}")


def show(numbers: dict[str, float]) -> None:
    for name, value in numbers.items():
        print(f"{name:>24} {value:8.3f}", flush=True)


def profile(*overrides: str) -> TrialConfig:
    """Return the demo profile's configuration with overrides."""
    layers = find_profile("demo", [packaged_studies() / "profiles"]).layers
    return resolve([*layers, *(parse_override(text) for text in overrides)])


def videos(folder: Path, count: int) -> Manifest:
    """Write videos of moving texture and prepare them as a data set."""
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (HEIGHT // 8 + 20, WIDTH // 8 + 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    for number in range(count):
        shifts = rng.integers(0, 3, (LENGTH, 2)).cumsum(0) % 100
        frames = np.stack([canvas[y : y + HEIGHT, x : x + WIDTH - 1] for y, x in shifts])
        path = folder / "set" / ("val" if number == 0 else "train") / "all" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, 30, preset="veryfast", g="12", crf="26")
    root = folder / "set"
    return prepare(read_listing("folder", root), layout="folder", root=root, directory=folder / "manifest")


def loading(manifest: Manifest, turns: int) -> dict[str, float]:
    """Return clips a second of bare decord and of the loader (medians), and their ratio turn by turn."""
    import decord

    batch = len(manifest.split("train")) // 2 * 2
    base = (f"recipe.batch_size={batch}", "data.classes=1", "model.clip=[16,224,224]", "run.workers=1")
    plain, augmented = profile(*base), profile(*base, *AUGMENTED)
    sampler = make_sampler(plain.data)

    def bare(epoch: int) -> None:
        for video in manifest.split("train")[:batch]:
            reader = decord.VideoReader(str(manifest.file(video)), num_threads=1)
            rng = numpy_rng(0, "frames", video.id, epoch, 0)
            reader.get_batch(sampler.train(len(reader), 16, rng).tolist()).asnumpy()

    def stream(config: TrialConfig, micro_batch: int, frames: FrameSource) -> Callable[[int], None]:
        made = TrainStream(manifest, config, rank=0, world=1, micro_batch=micro_batch, frames=frames)

        def run(epoch: int) -> None:
            for _ in made.epoch(epoch):
                pass

        return run

    # augmented in twos, since neighbours are mixed: one at a time, each would be read twice
    works = {
        "decord_clips_s": bare,
        "loader_clips_s": stream(plain, 1, DecodedFrames(manifest)),
        "cached_clips_s": stream(plain, 1, open_frames(manifest, plain.data)),
        "augmented_videos_s": stream(augmented, 2, DecodedFrames(manifest)),
    }
    rates: dict[str, list[float]] = {name: [] for name in works}
    cpu: dict[str, list[float]] = {name: [] for name in works}
    for epoch in range(turns + 1):
        for name, work in works.items():
            started, before = time.perf_counter(), cpu_seconds()
            work(epoch)
            if epoch:  # the first turn starts processes and fills the disk's cache
                rates[name].append(batch / (time.perf_counter() - started))
                cpu[name].append(cpu_seconds() - before)
    ratios = np.divide(rates["loader_clips_s"], rates["decord_clips_s"])
    return {
        **{name: float(np.median(each)) for name, each in rates.items()},
        "loader": float(np.median(ratios)),
        "loader_least": float(ratios.min()),
        "loader_most": float(ratios.max()),
        "loader_cpu": float(np.median(np.divide(cpu["decord_clips_s"], cpu["loader_clips_s"]))),
        "cached": float(np.median(np.divide(rates["cached_clips_s"], rates["loader_clips_s"]))),
        "cached_cpu": float(np.median(np.divide(cpu["loader_clips_s"], cpu["cached_clips_s"]))),
        "augmented": float(np.median(np.divide(rates["augmented_videos_s"], rates["decord_clips_s"]))),
    }


def cpu_seconds() -> float:
    """Return the processor time of this process and of those it has started and that live."""
    import psutil

    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (me, *me.children()))


def waiting(folder: Path, epochs: int) -> dict[str, float]:
    """Train the demo and return the share of its training time that the loop waits for data."""
    from far.distributed import join_world
    from far.store.paths import TrialPaths
    from far.train.trial import TrialRun

    config = profile()
    run = TrialRun(config, {}, TrialPaths(folder / "trial"), join_world(), data_root=folder / "data")
    waited = [0.0]
    whole = run.stream.epoch

    def timed(epoch: int, start_step: int = 0) -> Iterator[Any]:
        batches = iter(whole(epoch, start_step))
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            waited[0] += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    run.stream.epoch = timed  # type: ignore[method-assign]
    first = run.train_epoch()["train_seconds"], waited[0]
    waited[0] = 0.0
    seconds = sum(run.train_epoch()["train_seconds"] for _ in range(epochs))
    run.close()
    return {"waiting_first_epoch": first[1] / first[0], "waiting": waited[0] / seconds}


def opening(opens: int) -> None:
    """Decode the demo's files over and over and print the memory in use, ten times."""
    import psutil

    def resident(process: psutil.Process) -> float:
        return process.memory_info().rss / 2**20

    me = psutil.Process()
    with tempfile.TemporaryDirectory(prefix="farlab-bench-") as folder:
        manifest = open_manifest(profile("data.demo.train_clips=200", "data.demo.val_clips=50").data, Path(folder))
        indexes = open_indexes(manifest)
        started = time.perf_counter()
        for number in range(1, opens + 1):
            video = manifest.videos[number % len(manifest.videos)]
            index = indexes.get(video)
            POOL.decode(manifest.file(video), index, np.arange(0, index.count, 2))
            if (number + 1) % max(opens // 10, 1) == 0:  # before a worker is replaced, not after
                workers = [
                    f"{resident(each):.0f}" for each in me.children() if "far.data.decoding.worker" in each.cmdline()
                ]
                seconds = time.perf_counter() - started
                print(
                    f"{number:>6} opens {seconds:6.1f} s  this process {resident(me):.0f}  worker {'+'.join(workers)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
