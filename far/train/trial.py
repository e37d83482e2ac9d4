"""One process's part in one trial: build or resume, train epoch by epoch, evaluate, write the result last.

A trial goes on from its farthest checkpoint, in the middle of an epoch if need be, to the numbers that it would have
had undisturbed: order, augmentation and every draw depend on seed, epoch and step alone (bit for bit on a CPU).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from far.collectives import gathered
from far.config.trial import TrialConfig
from far.data import Manifest, open_manifest
from far.data.decoding.cache import open_frames
from far.data.feed import send
from far.data.loader import TrainStream
from far.data.sharing.passes import open_passes
from far.distributed import World
from far.errors import DivergedError, TrialInterruptedError
from far.evaluate.predict import Evaluation
from far.model.drop_path import keep_factors
from far.model.interaction import check_convolutions
from far.randomness import key_of
from far.store.attempts import Attempt, Clips, sum_of_clips
from far.store.paths import TrialPaths
from far.store.records import append_epoch, write_epochs, write_result
from far.train import checkpoint
from far.train.checkpoint import Place
from far.train.engine import (
    dtype_of,
    make_engine,
    micro_batch,
    release,
    resolve_precision,
    set_deterministic,
    zero_stage,
)
from far.train.heartbeat import Heartbeat
from far.train.interruption import Interruption
from far.train.memory import peak_memory, reserved_memory, reset_peak
from far.train.parameter_groups import parameter_groups
from far.train.plan_checks import as_begun, check_inputs, check_statistics
from far.train.record import Account, Record, epoch_record
from far.train.schedule import Schedule
from far.train.tally import Tally
from far.train.timetable import Action, Timetable
from far.train.validation import Validation
from far.weights import build_network

_log = logging.getLogger(__name__)


class TrialRun:
    """A trial in progress. All ranks make the same calls in the same order.

    Args:
        config: the resolved configuration.
        identity: the trial's scientific identity (``far.config.identity``).
        paths: where the trial's files lie.
        world: this process's place among the trial's processes.
        data_root: folder of data sets.
        weights_root: where a relative ``init.weights`` is looked for.
        attempts: earlier starts of this trial; this start is appended.
        interruption: requests to end this process.
        on_checkpoint: called by the main process after each checkpoint in the middle of an epoch.
        companions: how many other trials that read the same frames may run on this machine at the same time.

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
        attempts: list[Attempt] | None = None,
        interruption: Interruption | None = None,
        on_checkpoint: Callable[[], None] = lambda: None,
        companions: int = 0,
    ) -> None:
        self.config, self.paths, self.world = config, paths, world
        self.account = Account(paths.key, config, identity, attempts or [])
        self.manifest: Manifest = open_manifest(config.data, data_root)
        check_inputs(config, identity, self.manifest, weights_root, world)
        reset_peak(world.device)
        set_deterministic(config.run.deterministic)
        self.precision = resolve_precision(config.recipe.precision, world.device.type)
        self.zero_stage = zero_stage(config.recipe, self.precision)
        if self.zero_stage != config.recipe.zero_stage and world.is_main:
            _log.warning("fp16: ZeRO stage %d, since DeepSpeed does not scale the loss at stage 0", self.zero_stage)
        self.micro = micro_batch(config.recipe, config.run, world.size, world.device.type)
        check_statistics(identity, self.micro, world)
        self.history: list[Record] = []
        self.interruption = interruption if interruption is not None else Interruption()  # which is false at first
        self._on_checkpoint = on_checkpoint
        self._timetable = Timetable(config.run.checkpoint_minutes, self.interruption, world)
        self._writing = 0.0
        self._heartbeat = Heartbeat(paths, config.recipe.epochs) if world.is_main else None
        place: dict[str, Any] = {"rank": world.rank, "world": world.size, "micro_batch": self.micro}
        form = {"device": world.device, "dtype": self.dtype}
        indexing = partial(self._report, "index frames")
        frames = open_frames(self.manifest, config.data, indexing)
        self.stream = TrainStream(self.manifest, config, **place, **form, frames=frames)
        self.validation = Validation(
            self.manifest, config, world, micro_batch=self.micro, source=self.stream.source, dtype=self.dtype
        )
        self.schedule = Schedule.of(config.recipe, self.stream.steps_per_epoch)
        model, self.load_report = build_network(
            as_begun(config, paths.checkpoints),
            config.init,
            self.manifest.classes,
            seed=config.seed,
            root=weights_root,
            activation_checkpointing=config.run.activation_checkpointing,
        )
        self.params = sum(parameter.numel() for parameter in model.parameters())
        groups = parameter_groups(model, config.model, config.recipe)
        self.model = model.to(world.device)
        check_convolutions(self.model, world.device, self.dtype)
        self.engine = make_engine(self.model, groups, config.recipe, self.micro, self.precision, world)
        if config.run.compile:
            self.engine.compile()
        self._middle = self._resume()
        self.account.begin_attempt(epoch=self.epochs_done, step=self._saved.step, micro_batch=self.micro)
        self.passes = open_passes(
            self.manifest,
            config,
            trial=paths.key,
            code=self.account.source.parts,
            versions=(f"torch {torch.__version__}", *self.stream.decoders),
            companions=companions,
        )
        self.stream.passes = self.validation.passes = self.passes
        if self._heartbeat is not None:
            self._heartbeat.clips = self._clips

    # -- progress --

    @property
    def epochs_done(self) -> int:
        """Finished epochs."""
        return len(self.history)

    @property
    def is_trained(self) -> bool:
        """Whether all epochs are done and only ``finish`` is left."""
        return self.epochs_done >= self.config.recipe.epochs

    def _resume(self) -> Record:
        """Go on from the farthest checkpoint; return the running sums of the epoch that it is in the middle of."""
        found, middle = checkpoint.latest(self.paths.checkpoints), {}
        if found is not None:
            restored = checkpoint.restore(self.engine, found)
            self.history, middle = restored.history, restored.middle
            self.stream.failures |= restored.unreadable
        if self.world.is_main:
            # The checkpoint is the truth: an epoch logged after it will be run, and logged, again.
            write_epochs(self.paths, self.history)
        return middle

    @property
    def _saved(self) -> Place:
        """The place of the last checkpoint."""
        return Place(self.epochs_done, self._middle.get("step", 0))

    def _clips(self) -> Clips:
        """Return how many clips this process was delivered and had decoded."""
        delivered = self.stream.delivered + self.validation.delivered
        return {"delivered": delivered, "decoded": self.stream.source.decoded}

    def _report(self, phase: str, done: int, total: int, loss: float | None = None) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat(phase, self.epochs_done, done, total, loss)

    def _on_batch(self, phase: str, done: int, total: int) -> None:
        """Say how far an evaluation is; end it, in a single process, on request."""
        self._report(phase, done, total)
        if self.interruption and self.world.size == 1:
            raise self._interrupted()

    # -- training --

    def train_epoch(self) -> Record:
        """Train one epoch, validate, write the record and the checkpoint; return the record.

        Raises:
            CancelledError: the trial was cancelled.
            DivergedError: the loss or the network's answers are no longer finite.
            DataError: no validation video can be read.
            TrialInterruptedError: this process was asked to end, and has written a checkpoint.
        """
        with self.interruption.handling_signals():
            return self._train_epoch()

    def _train_epoch(self) -> Record:
        started, epoch = time.monotonic(), self.epochs_done
        tally = Tally(self.world, self.engine.gradient_accumulation_steps())
        # The last epoch's checkpoint is part of what this one takes.
        tally.seconds = tally.writing = self._writing
        if self._middle:
            tally.restore(self._middle)

        def seconds() -> float:
            return tally.seconds + time.monotonic() - started

        if self._timetable.begin(tally.step) is Action.STOP:
            raise self._interrupted()
        self._optimise(epoch, tally, seconds)
        trained = seconds() - tally.writing
        if self._timetable.before_validation():
            self._save_middle(tally, seconds)
        scores = self._validate(tally, seconds)
        loss, failed = tally.totals()
        record = epoch_record(
            epoch,
            scores,
            train_loss=loss,
            lr=self.schedule.rate((epoch + 1) * self.stream.steps_per_epoch - 1),
            failed_videos=failed,
            skipped_steps=self.engine.skipped_steps - self._skipped_before,
            train_seconds=trained,
            checkpoint_seconds=tally.writing,
            seconds=seconds(),
        )
        self.history.append(record)
        self._middle = {}
        self._writing = self._save(Place(self.epochs_done))
        if self.world.is_main:
            append_epoch(self.paths, record)
        return record

    def _optimise(self, epoch: int, tally: Tally, seconds: Callable[[], float]) -> None:
        """Run what is left of an epoch's optimiser steps, and write checkpoints on the way."""
        self.engine.train()
        steps, accumulation = self.stream.steps_per_epoch, tally.accumulation
        first, micro_steps = tally.step * accumulation, steps * accumulation
        for index, batch in enumerate(self.stream.epoch(epoch, tally.step), start=first):
            step = index // accumulation
            rate = self._set_rate(epoch * steps + step)
            self._seed_modules(epoch, index)
            loss = self.loss(batch, epoch)
            self.engine.backward(loss)
            self.engine.step()
            tally.add(loss, batch.failed)
            # A look at the value waits for the device, so a GPU is asked only now and then.
            if self.world.device.type == "cpu" or index % 50 == 0 or index + 1 == micro_steps:
                mean = tally.mean_loss(index + 1)
                if not math.isfinite(mean):
                    raise DivergedError(f"the loss is {mean} at step {step} of epoch {epoch} (lr {rate:.3g})")
                self._report("train", index + 1, micro_steps, mean)
            if (index + 1) % accumulation == 0:
                tally.step = step + 1
                action = self._timetable.after(tally.step) if tally.step < steps else Action.GO
                if action is not Action.GO:
                    self._save_middle(tally, seconds)
                if action is Action.STOP:
                    raise self._interrupted()
        if self.engine.skipped_steps - self._skipped_before >= steps > 0:
            raise DivergedError(f"the gradients were not finite in any of the {steps} steps of epoch {epoch}")

    def _validate(self, tally: Tally, seconds: Callable[[], float]) -> Evaluation:
        """Return how the network does after its training in this epoch.

        A process alone stops in the middle if it is asked to. Several stop after the validation: one that left would
        leave the others waiting.
        """
        try:
            return self.validation.on_one_view(self.engine, self.epochs_done + 1, partial(self._on_batch, "validate"))
        except TrialInterruptedError:
            self._save_middle(tally, seconds)
            raise

    def _save_middle(self, tally: Tally, seconds: Callable[[], float]) -> None:
        """Write a checkpoint in the middle of an epoch."""
        place = Place(self.epochs_done, tally.step)
        if place == self._saved:
            return  # nothing was trained since
        self._middle = tally.state(seconds())
        tally.writing += self._save(place, middle=self._middle)
        if self.world.is_main:
            self._on_checkpoint()

    def _save(self, place: Place, **more: Any) -> float:
        """Write a checkpoint; return the seconds that it took."""
        started = time.monotonic()
        checkpoint.save(
            self.engine,
            self.paths.checkpoints,
            place=place,
            history=self.history,
            world=self.world,
            keep=self.config.run.keep_checkpoints,
            facts={
                "position_embedding": self.model.config.embedding,
                "model_config": self.model.config.model_dump(mode="json"),
                "unreadable": self._unreadable(),
                **more,
            },
        )
        self._timetable.wrote()
        return time.monotonic() - started

    def _interrupted(self) -> TrialInterruptedError:
        asked = self.interruption.reason or "another of its processes"
        return TrialInterruptedError(
            f"trial {self.paths.key} was asked to stop ({asked}); it goes on from {self._saved.name}"
        )

    def _seed_modules(self, epoch: int, index: int) -> None:
        """Let modules that draw from PyTorch's own generator, such as dropout, draw by the place in the epoch alone."""
        torch.manual_seed(key_of(self.config.seed, "modules", epoch, index, self.world.rank))

    @property
    def _skipped_before(self) -> int:
        """Optimiser steps of finished epochs that DeepSpeed left out, since their gradients were not finite."""
        return sum(record.get("skipped_steps", 0) for record in self.history)

    def _set_rate(self, step: int) -> float:
        rate = self.schedule.rate(step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        return rate

    def loss(self, batch: Any, epoch: int) -> Any:
        """Return the mean loss of a micro-batch; only DeepSpeed divides by the accumulation steps."""
        keep = keep_factors(self.config.model, seed=self.config.seed, epoch=epoch, samples=batch.ids)
        keep = None if keep is None else send(keep, self.world.device)
        clips = batch.clips.to(self.world.device, self.dtype, non_blocking=True)
        logits = self.engine(clips, keep=keep).float()
        targets = batch.targets.to(self.world.device, non_blocking=True)
        smoothing = 0.0 if targets.is_floating_point() else self.config.recipe.label_smoothing
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)

    @property
    def dtype(self) -> Any:
        """The floating type of the clips that the engine takes."""
        return dtype_of(self.precision)

    # -- the end --

    def _unreadable(self) -> dict[str, str]:
        """Return why videos could not be read, over all ranks."""
        mine = gathered(self.stream.failures | self.validation.failures, self.world)
        return {name: why for each in mine for name, why in each.items()}

    def finish(self) -> Record:
        """Test the last epoch's weights on all views, write predictions and, last of all, the result.

        Raises:
            TrialInterruptedError: this process, which is alone, was asked to end.
        """
        with self.interruption.handling_signals():
            return self._finish()

    def _finish(self) -> Record:
        started = time.monotonic()
        predictions, scores = self.validation.on_all_views(
            self.engine, self.epochs_done, partial(self._on_batch, "test")
        )
        self.account.attempts[-1]["clips"] = sum_of_clips(gathered(self._clips(), self.world))
        result = self.account.finished(
            scores,
            self.manifest,
            device=self.world.device,
            execution={
                "world_size": self.world.size,
                "micro_batch": self.micro,
                "precision": self.precision,
                "zero_stage": self.zero_stage,
                "deterministic": self.config.run.deterministic,
            },
            unreadable=self._unreadable(),
            decoders=self.stream.decoders,
            epochs=self.epochs_done,
            steps=self.schedule.total_steps,
            skipped_steps=self.engine.skipped_steps,
            params=self.params,
            seconds=sum(record["seconds"] for record in self.history) + self._writing + time.monotonic() - started,
            peak_memory_bytes=peak_memory(self.world.device),
            reserved_memory_bytes=reserved_memory(self.world.device),
            init=self.load_report.as_json() if self.load_report else None,
        )
        if self.world.is_main:
            predictions.write(self.paths.predictions)
            write_result(self.paths, result, self.account.attempts)
        return result

    def close(self) -> None:
        """Give back what the trial held; the process group stays for the next trial."""
        if self.passes is not None:
            self.passes.close()
        release(self.engine)


def run_trial(run: TrialRun, on_epoch: Callable[[Record], None] = lambda record: None) -> Record:
    """Run a trial to its end in this process and return the result."""
    try:
        while not run.is_trained:
            on_epoch(run.train_epoch())
        return run.finish()
    finally:
        run.close()
