"""Checkpoints that a kill cannot spoil: written beside, then renamed; a name that exists is complete.

A checkpoint carries the metric history of the trial, so that what a resumed trial reports is what it would have
reported uninterrupted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

from far.distributed import World
from far.errors import ConfigError, DamagedError
from far.train.unpickle import DEEPSPEED, loading

_COMPLETE = re.compile(r"epoch-(\d+)")
_SHARD = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_\d+_optim_states\.pt")


def latest(directory: Path) -> Path | None:
    """Return the complete checkpoint with the most epochs behind it, if there is any."""
    complete = [
        (int(match[1]), path)
        for path in (directory.iterdir() if directory.is_dir() else ())
        if (match := _COMPLETE.fullmatch(path.name))
    ]
    return max(complete)[1] if complete else None


def save(
    engine: Any,
    directory: Path,
    *,
    epochs: int,
    history: list[dict[str, Any]],
    world: World,
    keep: int,
    facts: dict[str, Any] | None = None,
) -> None:
    """Write the state after ``epochs`` epochs; all ranks call this together.

    Args:
        engine: the DeepSpeed engine.
        directory: the trial's checkpoint folder.
        epochs: finished epochs.
        history: one report an epoch, as in ``metrics.jsonl``.
        world: this process's place.
        keep: complete checkpoints to keep, newest first.
        facts: plain data to store beside, e.g. what was settled when the trial began.
    """
    name = f"epoch-{epochs:04d}"
    partial = f"{name}.partial"
    if world.is_main:
        shutil.rmtree(directory / partial, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
    _barrier(world)
    engine.save_checkpoint(
        str(directory),
        tag=partial,
        client_state={**(facts or {}), "epochs": epochs, "history": history},
        save_latest=False,
    )
    _settle(directory / partial)
    _barrier(world)
    if world.is_main:
        shutil.rmtree(directory / name, ignore_errors=True)
        (directory / partial).rename(directory / name)
        complete = sorted(path for path in directory.iterdir() if _COMPLETE.fullmatch(path.name))
        for old in complete[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    _barrier(world)


def restore(engine: Any, checkpoint: Path) -> list[dict[str, Any]]:
    """Load a checkpoint into the engine on every rank and return the history it carries.

    Raises:
        ConfigError: it is in order, but its ZeRO shards were written by another number of processes.
        WeightsError: loading it would run code.
        OSError: it cannot be read just now, e.g. the file system is away.
        OutOfMemoryError: there is no room for it.
        DamagedError: it cannot be loaded. It has been set aside; the engine may hold half of it and must be made anew.
    """
    _check_shards(checkpoint, engine.world_size)
    try:
        with loading(checkpoint, DEEPSPEED):
            path, state = engine.load_checkpoint(str(checkpoint.parent), tag=checkpoint.name)
            return _history(checkpoint, path, state)
    except DamagedError as error:
        with contextlib.suppress(OSError):  # of several ranks one is the first
            checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.damaged"))
        raise DamagedError(f"{error}; it was set aside") from error


def _history(checkpoint: Path, path: str | None, state: Any) -> list[dict[str, Any]]:
    """Return the history of a checkpoint that has been loaded, one record for each of its epochs."""
    if path is None:
        raise DamagedError(f"{checkpoint} cannot be loaded: it is not whole")
    history = state.get("history") if isinstance(state, dict) else None
    match = _COMPLETE.fullmatch(checkpoint.name)
    epochs = int(match[1]) if match else None
    if not isinstance(history, list) or not all(isinstance(record, dict) for record in history):
        raise DamagedError(f"{checkpoint} cannot be loaded: it has no history")
    if [record.get("epoch") for record in history] != list(range(epochs or 0)):
        raise DamagedError(f"{checkpoint} cannot be loaded: its history is not that of {epochs} epochs")
    return history


def _check_shards(checkpoint: Path, processes: int) -> None:
    """Refuse a checkpoint whose optimiser state is split among another number of processes (ZeRO 1 to 3)."""
    shards = {int(match[1]) for path in checkpoint.iterdir() if (match := _SHARD.fullmatch(path.name))}
    if shards and shards != set(range(processes)):
        written = max(shards) + 1
        if shards == set(range(written)):
            raise ConfigError(
                f"{checkpoint} was written by {written} processes under ZeRO, this run has {processes}: go on with "
                f"{written}, or remove {checkpoint.parent} to begin anew",
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


def _barrier(world: World) -> None:
    if world.size > 1:
        import torch

        torch.distributed.barrier()
