"""One process's part in one trial: build or resume, train epoch by epoch, evaluate, write the result last."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from far.architecture import costs
from far.architecture.config import AUTO
from far.config.identity import STATISTICS
from far.config.trial import ModelConfig, TrialConfig
from far.data import Manifest, open_manifest
from far.data.decoding.cache import open_frames
from far.data.decoding.frame_index import VERSION as FRAME_INDEX
from far.data.decoding.indexes import misread
from far.data.loader import EvalStream, TrainStream
from far.distributed import World
from far.errors import CancelledError, ConfigError, DataError, DivergedError, WeightsError
from far.evaluate.predict import Predictions, Scores, predict, score
from far.model import vit
from far.model.drop_path import keep_factors
from far.store.atomic import append_json_line, finite, write_atomic, write_json
from far.store.environment import code_version, environment
from far.store.paths import TrialPaths
from far.train import checkpoint
from far.train.engine import make_engine, micro_batch, release, resolve_precision
from far.train.schedule import Schedule
from far.weights import build_network
from far.weights.files import open_file
from far.weights.paths import content_hash

HEARTBEAT = 1.0
"""Seconds between two writings of ``progress.json``."""

LISTED = 100
"""Unreadable videos that a result names; it counts all."""

Record = dict[str, Any]


class TrialRun:
    """A trial in progress. All ranks make the same calls in the same order.

    Args:
        config: the resolved configuration.
        identity: the trial's scientific identity (``far.config.identity``), copied into the result.
        paths: where the trial's files lie.
        world: this process's place among the trial's processes.
        data_root: folder of data sets.
        weights_root: where a relative ``init.weights`` is looked for.
        profile: name of the profile, copied into the result.
        attempts: earlier starts of this trial; this start is appended and all are copied into the result.

    Raises:
        ConfigError: what the configuration asks for cannot be had on this device or with these data.
        DataError: the data cannot be used.
    """

    def __init__(
        self,
        config: TrialConfig,
        identity: Record,
        paths: TrialPaths,
        world: World,
        *,
        data_root: Path,
        weights_root: Path = Path(),
        profile: str | None = None,
        attempts: list[Record] | None = None,
    ) -> None:
        self.config, self.identity, self.paths, self.world = config, identity, paths, world
        self.profile, self.attempts = profile, attempts or []
        self.code = code_version()
        self.manifest: Manifest = open_manifest(config.data, data_root)
        self._check_identity(weights_root)
        self.precision = resolve_precision(config.recipe.precision, world.device.type)
        self.micro = micro_batch(config.recipe, config.run, world.size, world.device.type)
        self._check_statistics()
        self.history: list[Record] = []
        self._beat = 0.0
        self.stream = TrainStream(
            self.manifest,
            config,
            rank=world.rank,
            world=world.size,
            micro_batch=self.micro,
            frames=open_frames(self.manifest, lambda done, total: self._report("index frames", done, total)),
            device=world.device,
        )
        self.schedule = Schedule.of(config.recipe, self.stream.steps_per_epoch)
        model, self.coverage = build_network(
            self._as_begun(),
            config.init,
            self.manifest.classes,
            seed=config.seed,
            root=weights_root,
            activation_checkpointing=config.run.activation_checkpointing,
        )
        self.params = sum(parameter.numel() for parameter in model.parameters())
        groups = vit.parameter_groups(model, config.model, config.recipe)
        self.model = model.to(world.device)
        self.engine = make_engine(self.model, groups, config.recipe, self.micro, self.precision, world)
        if config.run.compile:
            self.engine.compile()
        self.unreadable: dict[str, str] = {}
        self._resume()
        started = {"started_at": _now(), "host": socket.gethostname(), "pid": os.getpid(), "code": self.code}
        self.attempts.append(
            {**started, "epoch": self.epochs_done, "micro_batch": self.micro, "frame_index": FRAME_INDEX}
        )

    # -- progress --

    @property
    def epochs_done(self) -> int:
        """Finished epochs."""
        return len(self.history)

    @property
    def is_trained(self) -> bool:
        """Whether all epochs are done and only ``finish`` is left."""
        return self.epochs_done >= self.config.recipe.epochs

    def _check_identity(self, weights_root: Path) -> None:
        """Refuse data or weights that are not those of the trial's key: another node's copy, a file replaced since."""
        planned = self.identity.get("data", {}).get("content")
        if planned is not None and planned != self.manifest.content_hash:
            raise DataError(
                f"the data set here has the content {self.manifest.content_hash[:12]}, not the planned {planned[:12]}; "
                "it was prepared again since the sweep began, or this machine has another copy"
            )
        weights, planned = self.config.init.weights, (self.identity.get("init") or {}).get("content")
        if weights is not None and planned is not None and self.world.is_main:
            path = weights_root / Path(weights).expanduser()
            if content_hash(path) != planned:
                raise WeightsError(f"{path} is not the file of the plan; it was replaced since the sweep began")

    def _as_begun(self) -> ModelConfig:
        """Return the model section; what was settled when the trial began, by whatever version, stays so."""
        model, found = self.config.model, checkpoint.latest(self.paths.checkpoints)
        if found is None or self.config.init.weights is None or model.position_embedding != AUTO:
            return model
        with contextlib.suppress(WeightsError):  # what is damaged is dealt with when it is loaded
            settled = open_file(found).facts.position_embedding
            return model.model_copy(update={"position_embedding": settled or AUTO})
        return model

    def _check_statistics(self) -> None:
        """Refuse another micro-batch, or number of processes, than the key's where the numbers depend on them."""
        planned, here = self.identity.get("model", {}).get(STATISTICS), self.micro * self.world.size
        if planned is not None and planned != here:
            raise ConfigError(
                f"the batch statistics of '{self.config.model.interaction}' would be over {here} videos "
                f"({self.micro} on each of {self.world.size} devices), and those of this trial are over {planned}",
                key="run.micro_batch",
            )

    def _resume(self) -> None:
        found = checkpoint.latest(self.paths.checkpoints)
        if found is not None:
            self.history = checkpoint.restore(self.engine, found)
        if self.world.is_main:
            # The checkpoint is the truth: an epoch logged after it will be run, and logged, again.
            lines = [json.dumps(finite(r), separators=(",", ":")) + "\n" for r in self.history]
            write_atomic(self.paths.metrics, "".join(lines))

    def _report(self, phase: str, done: int, total: int, loss: float | None = None) -> None:
        now = time.monotonic()
        if self.world.is_main and (now - self._beat >= HEARTBEAT or done == total):
            self._beat = now
            if self.paths.cancel.exists():
                raise CancelledError(f"trial {self.paths.key} was cancelled")
            beat = {"phase": phase, "epoch": self.epochs_done, "epochs": self.config.recipe.epochs}
            # Not fsynced: it is worthless after a crash, and must not slow training.
            partial = self.paths.progress.with_suffix(".partial")
            with contextlib.suppress(OSError):
                partial.write_text(json.dumps(finite({**beat, "done": done, "total": total, "loss": loss})))
                partial.replace(self.paths.progress)

    # -- training --

    def train_epoch(self) -> Record:
        """Train one epoch, validate, write the record and the checkpoint; return the record.

        Raises:
            CancelledError: somebody asked for this trial to stop.
        DivergedError: the loss or the network's answers are no longer finite.
            DataError: no validation video can be read.
        """
        started, epoch = time.monotonic(), self.epochs_done
        loss, rate, failed = self._optimise(epoch)
        trained = time.monotonic()
        scores = self._validate()
        record = {
            "epoch": epoch,
            "time": _now(),
            "train_loss": loss,
            "lr": rate,
            "val_loss": scores.loss,
            "val_top1": scores.top1,
            "val_top5": scores.top5,
            "evaluated": scores.evaluated,
            "expected": scores.expected,
            "failed_videos": failed,
            "train_seconds": trained - started,
            "seconds": time.monotonic() - started,
        }
        self.history.append(record)
        checkpoint.save(
            self.engine,
            self.paths.checkpoints,
            epochs=self.epochs_done,
            history=self.history,
            world=self.world,
            keep=self.config.run.keep_checkpoints,
            facts={
                "position_embedding": self.model.config.embedding,
                "model_config": self.model.config.model_dump(mode="json"),
            },
        )
        if self.world.is_main:
            append_json_line(self.paths.metrics, record)
        return record

    def _optimise(self, epoch: int) -> tuple[float, float, int]:
        """Run an epoch's optimiser steps; return mean loss, last rate, and videos that could not be read."""
        import torch

        self.engine.train()
        steps, accumulation = self.stream.steps_per_epoch, self.engine.gradient_accumulation_steps()
        total = torch.zeros((), device=self.world.device)
        rate, failed, micro_steps = 0.0, 0, steps * accumulation
        for index, batch in enumerate(self.stream.epoch(epoch)):
            step = index // accumulation
            rate = self._set_rate(epoch * steps + step)
            loss = self.loss(batch, epoch)
            self.engine.backward(loss)
            self.engine.step()
            total += loss.detach()
            failed += batch.failed
            # A look at the value waits for the device, so a GPU is asked only now and then.
            if self.world.device.type == "cpu" or index % 50 == 0 or index + 1 == micro_steps:
                mean = float(total) / (index + 1)
                if not math.isfinite(mean):
                    raise DivergedError(f"the loss is {mean} at step {step} of epoch {epoch} (lr {rate:.3g})")
                self._report("train", index + 1, micro_steps, mean)
        return self._mean_over_ranks(float(total) / max(micro_steps, 1)), rate, failed

    def _set_rate(self, step: int) -> float:
        rate = self.schedule.rate(step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        return rate

    def loss(self, batch: Any, epoch: int) -> Any:
        """Return the mean loss of a micro-batch; DeepSpeed divides by the accumulation steps, nobody else."""
        import torch.nn.functional as F

        keep = keep_factors(
            self.config.model, seed=self.config.seed, epoch=epoch, samples=batch.ids, device=self.world.device
        )
        clips = batch.clips.to(self.world.device, self.dtype, non_blocking=True)
        logits = self.engine(clips, keep=keep).float()
        targets = batch.targets.to(self.world.device, non_blocking=True)
        smoothing = 0.0 if targets.is_floating_point() else self.config.recipe.label_smoothing
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)

    @property
    def dtype(self) -> Any:
        """The floating type of the clips that the engine takes."""
        import torch

        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    def _mean_over_ranks(self, value: float) -> float:
        import torch

        if self.world.size == 1:
            return value
        tensor = torch.tensor([value], device=self.world.device)
        torch.distributed.all_reduce(tensor)
        return float(tensor) / self.world.size

    # -- evaluation --

    def _evaluate(self, config: TrialConfig, phase: str) -> tuple[Predictions, Scores]:
        stream = EvalStream(
            self.manifest,
            config,
            "val",
            rank=self.world.rank,
            world=self.world.size,
            micro_batch=self.micro,
            frames=self.stream.source,
        )
        self.engine.eval()
        views = stream.expected * config.data.views.clips * config.data.views.crops // self.world.size
        predictions = predict(
            self.engine,
            stream,
            self.world,
            dtype=self.dtype,
            on_batch=lambda done: self._report(phase, done, max(views, done)),
            filler=self._filler(),
        )
        scores = score(predictions, stream.expected)
        if not scores.evaluated:
            why = next(iter(stream.failures.values()), "nothing was decoded")
            raise DataError(f"none of the {stream.expected} validation videos could be read, e.g. {why}")
        if not math.isfinite(scores.loss):
            raise DivergedError(f"the network's answers are not finite after epoch {self.epochs_done}")
        self.unreadable |= stream.failures
        return predictions, scores

    def _all_unreadable(self) -> dict[str, str]:
        """Return why videos could not be read, over all ranks."""
        mine = self.stream.failures | self.unreadable
        if self.world.size == 1:
            return mine
        import torch

        gathered: list[dict[str, str]] = [{} for _ in range(self.world.size)]
        torch.distributed.all_gather_object(gathered, mine)
        return {name: why for each in gathered for name, why in each.items()}

    def _filler(self) -> Any:
        """Return an empty clip where every forward pass needs all ranks, else None."""
        import torch

        together = self.world.size > 1 and self.config.recipe.zero_stage == 3
        return torch.zeros(1, 3, *self.config.model.clip) if together else None

    def _validate(self) -> Scores:
        one_view = {"views": self.config.data.views.model_copy(update={"clips": 1, "crops": 1})}
        data = self.config.data.model_copy(update=one_view)
        return self._evaluate(self.config.model_copy(update={"data": data}), "validate")[1]

    def finish(self) -> Record:
        """Test the last epoch's weights on all views, write predictions and, last of all, the result."""
        started = time.monotonic()
        predictions, scores = self._evaluate(self.config, "test")
        views = self.config.data.views
        result = {
            "key": self.paths.key,
            "state": "finished",
            "identity": self.identity,
            "config": self.config.model_dump(mode="json"),
            "profile": self.profile,
            "metrics": {"top1": scores.top1, "top5": scores.top5, "loss": scores.loss},
            "answers": scores.answers,
            "evaluated": scores.evaluated,
            "expected": scores.expected,
            "unreadable": dict(sorted(self._all_unreadable().items())[:LISTED]),
            "epochs": self.epochs_done,
            "views": {"frames": self.config.model.clip[0], "clips": views.clips, "crops": views.crops},
            "flops": costs.flops(self.config.model, self.manifest.classes),
            "params": self.params,
            "seconds": sum(record["seconds"] for record in self.history) + time.monotonic() - started,
            "steps": self.schedule.total_steps,
            "peak_memory_bytes": self.peak_memory(),
            "data_hash": self.manifest.content_hash,
            "decoders": self.stream.decoders,
            "misread_before": len(misread(self.manifest.directory)[1]),
            "execution": {
                "world_size": self.world.size,
                "micro_batch": self.micro,
                "precision": self.precision,
            },
            "code": self.code,
            "init": self.coverage.as_json() if self.coverage else None,
            "env": environment(),
            "error": None,
            "attempts": self.attempts,
            "finished_at": _now(),
        }
        if self.world.is_main:
            predictions.write(self.paths.predictions)
            write_json(self.paths.result, result)
        return result

    def peak_memory(self) -> int:
        """Return the device's peak in bytes, or on a CPU the process's."""
        if self.world.device.type == "cuda":
            import torch

            return int(torch.cuda.max_memory_allocated(self.world.device))
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def close(self) -> None:
        """Give back what the trial held; the process group stays for the next trial."""
        release(self.engine)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_trial(run: TrialRun, on_epoch: Callable[[Record], None] = lambda record: None) -> Record:
    """Run a trial to its end in this process and return the result."""
    try:
        while not run.is_trained:
            on_epoch(run.train_epoch())
        return run.finish()
    finally:
        run.close()
