"""The account of a trial's starts, in its ``trial.json``: how each began, and how those ended that did not finish.

Whoever calls holds the trial's lock. A start without an ``ended`` is one whose process was lost.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from far.config.identity import STATISTICS
from far.config.trial import TrialConfig
from far.errors import ConfigError, FarError, LostError, OutOfMemoryError
from far.store import records
from far.store.attempts import Attempt
from far.store.environment import code_version
from far.store.paths import TrialPaths
from far.store.records import Spec, read_heartbeat, write_heartbeat, write_spec
from far.train.engine import micro_batch
from orchestrator.executors.base import Job

if TYPE_CHECKING:
    from far.distributed import World

LONGEST_WAIT = 60.0
"""Seconds before a retry, however many there were."""
LONGEST_REASON = 300
"""Characters of a reason; the trial's log has all of it."""


def begin_attempt(job: Job, world: World) -> None:
    """Record that a start begins, before anything that may kill the process and go uncounted."""
    paths = TrialPaths(job.directory)
    spec = read_spec(paths)
    attempts = list(spec.get("attempts") or [])
    if attempts and (beat := read_heartbeat(paths)) is not None:
        if (reached := _reached(beat)) is not None:
            attempts[-1].setdefault("reached", reached)
        if (clips := beat.get("clips")) is not None:
            attempts[-1].setdefault("clips", clips)
    attempts.append({**attempt_record(), **_micro_batch(spec, world)})
    write_spec(paths, {**spec, "attempts": attempts})
    write_phase(paths, "starting")


def _reached(beat: Mapping[str, Any]) -> float | None:
    """Return how many epochs the start before this one had come to, by its last sign of life."""
    if beat["phase"] not in ("train", "validate", "test"):
        return None
    training = beat["phase"] == "train"
    done: float = beat["done"] / max(beat["total"], 1) if training else beat["phase"] == "validate"
    return round(beat["epoch"] + done, 4)


def _micro_batch(spec: Spec, world: World) -> Attempt:
    """Return the micro-batch that the attempt will have: memory may run out before the trial records it."""
    with contextlib.suppress(Exception):  # a wrong configuration is reported when the trial is built
        config = TrialConfig.model_validate(spec["config"])
        return {"micro_batch": micro_batch(config.recipe, config.run, world.size, world.device.type)}
    return {}


def reduce_micro_batch(job: Job, cause: BaseException, micro: int | None = None) -> bool:
    """Write half the micro-batch into ``trial.json`` and what happened into its attempts.

    Args:
        job: the trial.
        cause: what the allocator said.
        micro: the micro-batch that did not fit; by default what the last attempt had.

    Returns:
        Whether the trial can be started again; not if one video is too much, it was halved often enough, or its numbers
        depend on the micro-batch.
    """
    paths = TrialPaths(job.directory)
    spec = read_spec(paths)
    attempts = spec.get("attempts") or []
    micro = micro or (attempts[-1].get("micro_batch") if attempts else None)
    halvings = sum(attempt.get("ended") == OutOfMemoryError.kind for attempt in attempts[spec.get("before", 0) :])
    if attempts:
        attempts[-1] = {**attempts[-1], "ended": OutOfMemoryError.kind, "message": str(cause)[:300]}
    fixed = (spec.get("identity") or {}).get("model", {}).get(STATISTICS) is not None  # another one is another trial
    can = micro is not None and micro > 1 and halvings < job.retry.out_of_memory and not fixed
    if can:
        assert micro is not None
        smaller = max(size for size in range(1, micro // 2 + 1) if micro % size == 0)
        (spec["config"] or {})["run"]["micro_batch"] = smaller
    write_spec(paths, {**spec, "attempts": attempts})
    return can


def end_attempt(job: Job, cause: BaseException) -> None:
    """Write into ``trial.json`` that the last start was ended on purpose: it does not count as lost."""
    paths = TrialPaths(job.directory)
    spec = read_spec(paths)
    for attempt in (spec.get("attempts") or [])[-1:]:
        attempt["ended"] = getattr(cause, "kind", FarError.kind)
    write_spec(paths, spec)


def note_loss(job: Job, cause: BaseException | str) -> None:
    """Write into ``trial.json`` why the process of the last attempt is lost."""
    paths = TrialPaths(job.directory)
    spec = read_spec(paths)
    for attempt in (spec.get("attempts") or [])[-1:]:
        attempt.setdefault("lost", " ".join(str(cause).split())[:LONGEST_REASON])
    write_spec(paths, spec)


def note(job: Job, text: str) -> None:
    """Append to the trial's log, if there is room."""
    with contextlib.suppress(OSError), TrialPaths(job.directory).log.open("a", encoding="utf-8") as log:
        log.write(text)


def attempt_record() -> Attempt:
    """Return what is known of an attempt when it begins."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"started_at": now, "host": socket.gethostname(), "pid": os.getpid(), "code": code_version()}


def write_phase(paths: TrialPaths, phase: str) -> None:
    """Say what the trial does before its first epoch."""
    write_heartbeat(paths, phase=phase, epoch=0, done=0, total=0)


def losses(spec: Spec) -> list[Attempt]:
    """Return the attempts whose process was lost, since the trial was submitted or last came farther."""
    lost: list[Attempt] = []
    farthest: tuple[int, int] | None = None
    for attempt in (spec.get("attempts") or [])[spec.get("before", 0) :]:
        if (epoch := attempt.get("epoch")) is not None:
            place = epoch, attempt.get("step") or 0
            if farthest is not None and place > farthest:
                lost = []  # it is the machine that is lost again and again, not the trial
            farthest = max(place, farthest or place)
        if "ended" not in attempt:
            lost.append(attempt)
    return lost


def too_often(spec: Spec, job: Job) -> LostError | None:
    """Return the error for a trial that was lost more often than it may be, else None."""
    lost = losses(spec)
    if len(lost) <= job.retry.lost:
        return None
    reason = next((attempt["lost"] for attempt in reversed(lost) if "lost" in attempt), None)
    return LostError(
        f"its process was lost {len(lost)} times (retry.lost: {job.retry.lost})"
        f"{f', the last time: {reason}' if reason else ''}; see {job.directory}/log.txt"
    )


def may_start(spec: Spec, job: Job) -> None:
    """Refuse a trial that was lost too often.

    Raises:
        LostError: the trial was lost as often as it may be since it was submitted.
    """
    if error := too_often(spec, job):
        raise error


def wait_for_retry(job: Job) -> None:
    """Wait before a trial that was lost is started again: longer each time."""
    if lost := len(losses(records.read_spec(TrialPaths(job.directory)))):
        time.sleep(min(job.retry.wait_seconds * 2 ** (lost - 1), LONGEST_WAIT))


def read_spec(paths: TrialPaths) -> Spec:
    """Return a trial's description.

    Raises:
        ConfigError: it is missing or broken.
    """
    spec = records.read_spec(paths)
    if "config" not in spec:
        raise ConfigError("the trial's description is missing or broken", where=str(paths.trial))
    return spec
