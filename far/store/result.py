"""What a trial leaves behind when it has ended: the contract between training, the store and the reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

State = Literal["finished", "failed", "diverged", "partial"]
"""
- ``finished``: trained to its last epoch and evaluated.
- ``diverged``: the loss or the gradient stopped being finite, which is a result.
- ``partial``: stopped on purpose before the last epoch (pruned, or out of budget); never enters an ablation table.
- ``failed``: see ``error``.
"""

STATES: tuple[str, ...] = get_args(State)


class Failure(TypedDict, total=False):
    """Why a trial failed."""

    kind: str
    """``FarError.kind``, or the class of an error that nobody expected."""
    message: str
    traceback: str
    """Of an error that nobody expected."""


class Result(TypedDict, total=False):
    """The content of ``result.json``."""

    key: str
    state: State
    identity: dict[str, Any]
    """See ``far.config.identity``."""
    config: dict[str, Any]
    """The resolved ``TrialConfig``."""
    profile: str
    metrics: dict[str, float | None]
    """``top1`` and ``top5`` in percent, ``loss`` in nats, over the videos that were evaluated."""
    answers: dict[str, Any]
    """Which of them were answered correctly (``far.store.correctness``)."""
    evaluated: int
    """Videos that count in the metrics."""
    expected: int
    """Videos in the validation split."""
    unreadable: dict[str, str]
    """Why videos could not be read, by id; at most a hundred of them."""
    epochs: int
    """Epochs trained."""
    flops: int
    """Of one clip, in the fvcore convention."""
    params: int
    seconds: float
    """Wall clock of training and evaluation, over all attempts."""
    steps: int
    """Optimiser steps."""
    skipped_steps: int
    """Those of them that changed nothing, since a gradient was not finite."""
    peak_memory_bytes: int
    """Of the trial's last start: tensors on the device where it ran on one, else the process (``far.memory``)."""
    reserved_memory_bytes: int | None
    """What the allocator took of the device for them."""
    views: dict[str, int]
    """``frames``, ``clips``, ``crops`` of the test."""
    execution: dict[str, Any]
    """``world_size``, ``micro_batch``, ``precision``, ``zero_stage``, ``deterministic``: what was run, where the
    configuration leaves it open."""
    data_hash: str
    misread_before: int
    """Videos of the data set of which versions before the frame index read other frames."""
    decoders: dict[str, int]
    """How many videos of the data set each decoder read, by its name and version."""
    code: dict[str, Any]
    """``version``, ``git``, ``dirty``."""
    env: dict[str, Any]
    """Versions of Python, torch, DeepSpeed; the device."""
    error: Failure | None
    attempts: list[dict[str, Any]]
    finished_at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True)
class Started:
    """What ``trial.json`` has that is read again by others than training."""

    config: dict[str, Any] | None = None
    identity: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class EpochRecord:
    """What a line of ``metrics.jsonl`` has that is read again; losses in nats, ``val_top1`` in percent."""

    epoch: int
    """Counted from 0."""
    time: str | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    val_top1: float | None = None
    val_top5: float | None = None
    seconds: float | None = None
    skipped_steps: int | None = None


@dataclass(frozen=True)
class Heartbeat:
    """The content of ``progress.json``: how far a running trial is within an epoch."""

    phase: str
    done: int
    total: int
    epoch: int = 0
    loss: float | None = None


def problem(value: Any, key: str) -> str | None:
    """Return what is wrong with the content of a result file, None if it is in order."""
    if not isinstance(value, dict):
        return "not a whole JSON object"
    if value.get("key") != key:
        return f"belongs to trial {value.get('key')!r}"
    if value.get("state") not in STATES:
        return f"unknown state {value.get('state')!r}"
    if value["state"] == "finished" and not isinstance(value.get("metrics"), dict):
        return "finished without metrics"
    metrics = value.get("metrics") or {}
    if not isinstance(metrics, dict) or not all(
        each is None or isinstance(each, int | float) for each in metrics.values()
    ):
        return "has metrics that are no numbers"
    return None


def saw_indexed_frames(result: Mapping[str, Any]) -> bool:
    """Return whether every start of a trial read its videos by the frame index (``far.data.decoding.frame_index``).

    Versions before it wrote no such word; a start that never trained says nothing of frames. Where the first start that
    is known went on with another's epochs, that other one is of a version that did not keep its starts.
    """
    trained = [attempt for attempt in result.get("attempts") or () if "epoch" in attempt]
    return bool(trained) and trained[0]["epoch"] == 0 and all("frame_index" in attempt for attempt in trained)
