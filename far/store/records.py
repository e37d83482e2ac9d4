"""The records of a trial, as types; they are written and read here alone.

``trial.json`` says what is run: identity, configuration, every start and the code that it ran. ``result.json`` says
what came of it, and what a table needs of the starts. ``metrics.jsonl`` has a line per epoch; ``progress.json``
is how far the trial is in one. Records of version 1 (up to FARLab 0.1) name no version; their results repeat
``trial.json``.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from pydantic import ValidationError
from typing_extensions import TypedDict

from far.errors import ConfigError
from far.store.atomic import append_json_line, checker, finite, read_json, read_json_lines, write_atomic, write_json
from far.store.attempts import Attempt, Clips, Code, of_attempts, sum_of_clips

if TYPE_CHECKING:
    from pathlib import Path

    from far.store.paths import TrialPaths

VERSION = 2
"""Of the records; it rises when a field changes its meaning, not when one is added."""

State = Literal["finished", "failed", "diverged", "partial"]
"""
- ``finished``: trained to its last epoch and evaluated.
- ``diverged``: the loss or the gradient stopped being finite, which is a result.
- ``partial``: stopped on purpose before the last epoch (pruned, or out of budget); never enters an ablation table.
- ``failed``: see ``error``.
"""

STATES: tuple[str, ...] = get_args(State)


class Spec(TypedDict, total=False):
    """The content of ``trial.json``."""

    version: int
    key: str
    identity: dict[str, Any] | None
    """See ``far.config.identity``."""
    config: dict[str, Any] | None
    """The resolved ``TrialConfig``."""
    profile: str | None
    weights_root: str
    attempts: list[Attempt] | None
    before: int
    """Attempts before the last submission."""
    sources: dict[str, dict[str, dict[str, str]]] | None
    """By digest, the source that attempts ran (``far.source.Source``)."""
    videos: dict[str, int] | None
    """How many the data set has, by split; absent until a start has come as far as to train."""
    plugins: list[Any] | None
    """The plug-ins that it needs (``far.plugins.kept.KeptPlugin``)."""


class Failure(TypedDict, total=False):
    """Why a trial failed."""

    kind: str
    """``FarError.kind``, or the class of an unexpected error."""
    message: str
    traceback: str
    """Of an unexpected error."""


class Views(TypedDict):
    """Of the test."""

    frames: int
    clips: int
    crops: int


class Execution(TypedDict, total=False):
    """How a trial was executed, where the configuration leaves it open."""

    world_size: int | None
    micro_batch: int | None
    precision: str | None
    zero_stage: int | None
    deterministic: bool | None


class Loading(TypedDict, total=False):
    """What became of the initial weights (``far.weights.load_report``)."""

    family: str | None
    positions: str | None
    stage: str | None
    loaded: list[str] | None
    fresh: dict[str, str] | None
    ignored: dict[str, str] | None
    notes: list[str] | None


Environment = dict[str, str | int | None]
"""What a trial ran with, by name (``far.store.environment``): versions as text, but cuDNN's, which is a number."""


class Result(TypedDict, total=False):
    """The content of ``result.json``."""

    key: str
    state: State
    metrics: dict[str, float | None] | None
    """``top1`` and ``top5`` in percent, ``loss`` in nats, over the videos that were evaluated."""
    answers: dict[str, Any] | None
    """Which of them were answered correctly (``far.store.correctness``)."""
    evaluated: int | None
    """Videos that count in the metrics."""
    expected: int | None
    """Videos in the validation split."""
    unreadable: dict[str, str] | None
    """Why videos could not be read, by id; at most a hundred of them."""
    epochs: int | None
    """Epochs trained."""
    flops: int | None
    """Of one clip, in the fvcore convention."""
    params: int | None
    seconds: float | None
    """Wall clock of training and evaluation, over all attempts."""
    steps: int | None
    """Optimiser steps."""
    skipped_steps: int | None
    """Those of them that changed nothing, since a gradient was not finite."""
    peak_memory_bytes: int | None
    """Of the trial's last start: tensors on the device where it ran on one, else the process (``far.train.memory``)."""
    reserved_memory_bytes: int | None
    """What the allocator took of the device for them."""
    views: Views | None
    execution: Execution | None
    data_hash: str | None
    misread_before: int | None
    """Videos of the data set of which versions before the frame index read other frames."""
    decoders: dict[str, int] | None
    """How many videos of the data set each decoder read, by its name and version."""
    init: Loading | None
    code: Code | None
    env: Environment | None
    """Versions of Python, torch, DeepSpeed; the device."""
    error: Failure | None
    starts: int
    """How often it was started."""
    earlier_code: list[Code]
    """Which other code than ``code`` earlier starts ran."""
    indexed_frames: bool
    """Whether every start that trained read its videos by the frame index."""
    sources: list[str]
    """Digests of the source by which it was trained and tested, the first first; absent: not known."""
    finished_at: str | None
    """ISO 8601, UTC."""
    clips: Clips | None
    """Of all its starts, as far as they are known; absent in results of versions that did not count."""


class _Stored(Result, total=False):
    version: int
    attempts: list[Attempt] | None
    """In version 1 alone."""


@dataclass(frozen=True)
class Epoch:
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
    clips: Clips | None = None
    """Of this start's main process, so far."""
    warnings: list[str] | None = None
    """Of the process whose output goes to ``log.txt``, each once."""


class DamagedRecordError(ValueError):
    """A record is not what it has to be."""


# -- trial.json --


def read_spec(paths: TrialPaths) -> Spec:
    """Return what is to be run; empty if that is damaged or missing, and a result of version 1 does not hold it."""
    spec: dict[str, Any] | None = read_json(paths.trial, Spec)
    if spec is None or "identity" not in spec:
        copied: dict[str, Any] = read_json(paths.result, Spec) or {}
        spec = {**copied, **(spec or {})} if "config" in copied else spec or {}
    _refuse_newer(spec, paths.trial)
    return cast(Spec, spec)


def write_spec(paths: TrialPaths, spec: Spec) -> None:
    """Write what is to be run, atomically."""
    write_json(paths.trial, {"version": VERSION, **spec})


def with_start(
    spec: Spec, attempts: Sequence[Attempt], source: Mapping[str, dict[str, str]], videos: Iterable[str]
) -> Spec:
    """Return what is to be run, with a start that has come as far as to train.

    Args:
        spec: as it was.
        attempts: all starts, this one last.
        source: that this one runs (``far.source.Source.as_json``).
        videos: the split of each video of the data set.
    """
    known = {**(spec.get("sources") or {}), attempts[-1].get("source", ""): dict(source)}
    ran = {attempt.get("source", "") for attempt in attempts}
    return {
        **spec,
        "attempts": list(attempts),
        "sources": {digest: each for digest, each in known.items() if digest and digest in ran},
        "videos": dict(Counter(videos)),
    }


# -- result.json --


def parse_result(data: bytes, key: str, path: Path | str = "result.json") -> Result:
    """Return what a result file says.

    Raises:
        DamagedRecordError: it is damaged, or belongs to another trial.
        ConfigError: it was written by a later version.
    """
    try:
        stored: dict[str, Any] = checker(_Stored).validate_json(data, strict=True)
    except ValidationError as error:
        raise DamagedRecordError(_said(error)) from None
    _refuse_newer(stored, path)
    if stored.get("key") != key:
        raise DamagedRecordError(f"belongs to trial {stored.get('key')!r}")
    if "state" not in stored:
        raise DamagedRecordError("unknown state None")
    if stored["state"] == "finished" and stored.get("metrics") is None:
        raise DamagedRecordError("finished without metrics")
    attempts = stored.pop("attempts", None)
    if stored.pop("version", 1) < VERSION:
        stored |= of_attempts(attempts or [], stored.get("code"))
    return cast(Result, stored)


def read_result(paths: TrialPaths, key: str | None = None) -> Result | None:
    """Return a trial's result, None if it has none or a damaged one; the key is the folder's unless it is named."""
    try:
        return parse_result(paths.result.read_bytes(), key or paths.key, paths.result)
    except (OSError, DamagedRecordError):
        return None


def has_result(paths: TrialPaths) -> bool:
    """Return whether the trial has ended, well or badly."""
    return read_result(paths) is not None


def damage(paths: TrialPaths) -> str | None:
    """Return what is wrong with a trial's result file, None if there is none or it is in order."""
    try:
        parse_result(paths.result.read_bytes(), paths.key, paths.result)
    except FileNotFoundError:
        return None
    except (OSError, DamagedRecordError) as error:
        return f"{paths.result}: {error}"
    return None


def write_result(paths: TrialPaths, result: Mapping[str, Any], attempts: Sequence[Attempt]) -> Result:
    """Write what came of a trial, last of all its files; return it.

    Args:
        paths: where its files lie.
        result: what came of it.
        attempts: its starts, the last one included.
    """
    whole = {"version": VERSION, **result, **of_attempts(attempts, result.get("code"))}
    write_json(paths.result, whole)
    return cast(Result, whole)


# -- metrics.jsonl, progress.json --


def append_epoch(paths: TrialPaths, record: dict[str, Any]) -> None:
    """Add the line of a finished epoch."""
    append_json_line(paths.metrics, record)


def write_epochs(paths: TrialPaths, records: Collection[Mapping[str, Any]]) -> None:
    """Write the lines of all finished epochs, as a trial does that goes on from a checkpoint: that is the truth."""
    lines = [json.dumps(finite(record), separators=(",", ":")) + "\n" for record in records]
    write_atomic(paths.metrics, "".join(lines))


def read_epochs(paths: TrialPaths) -> list[dict[str, Any]]:
    """Return the whole lines of finished epochs."""
    return read_json_lines(paths.metrics, Epoch)


def write_heartbeat(paths: TrialPaths, **said: Any) -> None:
    """Say how far the trial is: not fsynced, since it is worthless after a crash and must not slow training."""
    partial = paths.progress.with_suffix(".partial")
    with contextlib.suppress(OSError):
        partial.write_text(json.dumps(finite(said)))
        partial.replace(paths.progress)


def read_heartbeat(paths: TrialPaths) -> dict[str, Any] | None:
    """Return how far the trial is, None if it does not say."""
    found: dict[str, Any] | None = read_json(paths.progress, Heartbeat)
    return found


def clips_of(
    attempts: Sequence[Attempt], result: Mapping[str, Any] | None, beat: Mapping[str, Any] | None
) -> Clips | None:
    """Return how many clips a trial's starts were delivered and had decoded, None if none of them counted.

    Args:
        attempts: its starts, as its description has them.
        result: what came of it, if it has ended.
        beat: its last sign of life.
    """
    if result is not None and result.get("state") == "finished":
        return result.get("clips")
    counts = [attempt.get("clips") for attempt in attempts]
    # The next start takes over what the one before it said last.
    return sum_of_clips([*counts, None if counts and counts[-1] else (beat or {}).get("clips")])


# -- pieces --


def _said(error: Any) -> str:
    """Return what pydantic found wrong, in words."""
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    if not place:
        return "not a whole JSON object"
    if place == ["state"]:
        return f"unknown state {first['input']!r}"
    if place[0] == "metrics":
        return "has metrics that are no numbers"
    return f"has no proper {'.'.join(place)} ({first['msg'].removeprefix('Input ')})"


def _refuse_newer(record: Mapping[str, Any], path: Path | str) -> None:
    """Refuse what only a later version can read.

    Raises:
        ConfigError: the record is of one.
    """
    version = record.get("version", 1)
    if version > VERSION:
        raise ConfigError(
            f"was written by a later version of FARLab (records of version {version}; this one reads up to {VERSION}): "
            "read it with that version, or upgrade this one",
            where=str(path),
        )
