"""Checkpoints that a kill cannot spoil: written under another name, then renamed; a name that exists is complete.

A checkpoint carries the metric history of the trial, and one in the middle of an epoch the running sums of that epoch,
so that what a resumed trial reports is what it would have reported uninterrupted. ``epoch-0003`` has three epochs
behind it, ``epoch-0003-step-000120`` another 120 optimiser steps.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from far.collectives import barrier
from far.distributed import World
from far.errors import ConfigError, DamagedError
from far.train.network_only import load_into, network_alone
from far.train.unpickle import DEEPSPEED, loading

_COMPLETE = re.compile(r"epoch-(\d+)(?:-step-(\d+))?")
_SHARD = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_\d+_optim_states\.pt")


@dataclass(frozen=True, order=True)
class Place:
    """How far a checkpoint is.

    Attributes:
        epochs: finished epochs.
        step: optimiser steps of the next one.
    """

    epochs: int
    step: int = 0

    @property
    def name(self) -> str:
        """The folder's name; names are in the order of places."""
        return f"epoch-{self.epochs:04d}" + (f"-step-{self.step:06d}" if self.step else "")

    @classmethod
    def of(cls, path: Path) -> Place | None:
        """Return the place that a complete checkpoint's name says, None if it is none."""
        match = _COMPLETE.fullmatch(path.name)
        return cls(int(match[1]), int(match[2] or 0)) if match else None


@dataclass(frozen=True)
class Restored:
    """What a checkpoint holds in addition to the engine's state.

    Attributes:
        place: how far it is.
        history: one record for each finished epoch.
        middle: running sums of the epoch that it is in the middle of; empty between two epochs.
        unreadable: why videos could not be read so far, by id.
    """

    place: Place
    history: list[dict[str, Any]]
    middle: dict[str, Any]
    unreadable: dict[str, str]


def latest(directory: Path, *, whole_epochs: bool = False) -> Path | None:
    """Return the complete checkpoint that is farthest, if there is any.

    Args:
        directory: the trial's checkpoint folder.
        whole_epochs: only those between two epochs.
    """
    found = [each for each in complete(directory) if not (whole_epochs and each[0].step)]
    return max(found)[1] if found else None


def complete(directory: Path) -> list[tuple[Place, Path]]:
    """Return the complete checkpoints in a trial's checkpoint folder, each with how far it is."""
    paths = directory.iterdir() if directory.is_dir() else ()
    return [(place, path) for path in paths if (place := Place.of(path)) is not None]


def save(
    engine: Any,
    directory: Path,
    *,
    place: Place,
    history: list[dict[str, Any]],
    world: World,
    keep: int,
    facts: dict[str, Any] | None = None,
) -> None:
    """Write the state at a place between two optimiser steps; all ranks call this together.

    Args:
        engine: the DeepSpeed engine.
        directory: the trial's checkpoint folder.
        place: how far the trial is.
        history: one record per epoch, as in ``metrics.jsonl``.
        world: this process's place.
        keep: epochs to keep the checkpoints of, newest first. Of those in the middle of an epoch the newest is kept,
            and only until the epoch has one.
        facts: plain data to store with it, e.g. what was settled when the trial began.
    """
    name = place.name
    partial = f"{name}.partial"
    if world.is_main:
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob("epoch-*.partial"):  # of a process that was killed at it
            shutil.rmtree(left, ignore_errors=True)
    barrier(world)
    engine.save_checkpoint(
        str(directory),
        tag=partial,
        client_state={**(facts or {}), "epochs": place.epochs, "history": history},
        save_latest=False,
    )
    _settle(directory / partial)
    barrier(world)
    if world.is_main:
        shutil.rmtree(directory / name, ignore_errors=True)
        (directory / partial).rename(directory / name)
        written = complete(directory)
        kept = sorted(each for each, _ in written if not each.step)[-keep:]
        for each, path in written:
            if each not in (*kept, place):
                shutil.rmtree(path, ignore_errors=True)
    barrier(world)


def restore(engine: Any, checkpoint: Path) -> Restored:
    """Load a checkpoint into the engine on every rank and return what else it says.

    Raises:
        ConfigError: it is in order, but its ZeRO shards were written by another number of processes.
        WeightsError: loading it would run code.
        OSError: it cannot be read just now, e.g. the file system is away.
        OutOfMemoryError: there is no room for it.
        DamagedError: it cannot be loaded. It has been set aside; the engine may hold half of it and must be rebuilt.
    """
    _check_shards(checkpoint, engine.world_size)
    try:
        with loading(checkpoint, DEEPSPEED):
            if (states := network_alone(checkpoint)) is not None:
                load_into(engine, states, checkpoint)
                return _restored(checkpoint, str(checkpoint), states)
            path, state = engine.load_checkpoint(str(checkpoint.parent), tag=checkpoint.name)
            return _restored(checkpoint, path, state)
    except DamagedError as error:
        with contextlib.suppress(OSError):  # of several ranks one is the first
            checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.damaged"))
        raise DamagedError(f"{error}; it was set aside") from error


def _restored(checkpoint: Path, path: str | None, state: Any) -> Restored:
    """Return what a checkpoint that has been loaded says; earlier versions wrote a history alone."""
    if path is None:
        raise DamagedError(f"{checkpoint} cannot be loaded: it is not whole")
    history = state.get("history") if isinstance(state, dict) else None
    place = Place.of(checkpoint) or Place(0)
    if not isinstance(history, list) or not all(isinstance(record, dict) for record in history):
        raise DamagedError(f"{checkpoint} cannot be loaded: it has no history")
    if [record.get("epoch") for record in history] != list(range(place.epochs)):
        raise DamagedError(f"{checkpoint} cannot be loaded: its history is not that of {place.epochs} epochs")
    middle = state.get("middle") or {}
    if not isinstance(middle, dict) or middle.get("step", 0) != place.step:
        raise DamagedError(f"{checkpoint} cannot be loaded: it does not say what step {place.step} was reached with")
    return Restored(place, history, middle, dict(state.get("unreadable") or {}))


def refuse_unfinished(checkpoint: Path | None, epochs: int) -> None:
    """Set a checkpoint aside that holds the network alone while there is something left to train.

    Args:
        checkpoint: the farthest one, if there is any.
        epochs: of the whole trial.

    Raises:
        DamagedError: it was set aside.
    """
    place = Place.of(checkpoint) if checkpoint is not None else None
    if checkpoint is None or place is None or place.epochs >= epochs:
        return
    try:
        alone = network_alone(checkpoint)
    except DamagedError:  # `restore` says so, and sets it aside
        return
    if alone is None:
        return
    with contextlib.suppress(OSError):  # of several ranks one is the first
        checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.damaged"))
    raise DamagedError(
        f"{checkpoint} cannot be trained on from: it holds the network of {place.epochs} epochs alone, without the "
        f"optimiser's state, which `farlab gc` has removed, and {epochs - place.epochs} are left; it was set aside"
    )


def _check_shards(checkpoint: Path, processes: int) -> None:
    """Refuse a checkpoint whose optimiser state is split among another number of processes (ZeRO 1 to 3)."""
    shards = {int(match[1]) for path in checkpoint.iterdir() if (match := _SHARD.fullmatch(path.name))}
    if shards and shards != set(range(processes)):
        written = max(shards) + 1
        if shards == set(range(written)):
            raise ConfigError(
                f"{checkpoint} was written by {written} processes under ZeRO, this run has {processes}: go on with "
                f"{written}, or remove {checkpoint.parent} to start over",
                key="run.devices",
            )


def _settle(directory: Path) -> None:
    """Bring the files to the disk before their name says that they are complete: a machine may lose its power."""
    for path in (*directory.iterdir(), directory):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
