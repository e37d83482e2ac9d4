"""One process that hosts trials one after another: start, epoch by epoch, finish; what fails becomes a result.

Who owns the process (Ray Tune's trainable, or the in-process executor) calls ``start`` and then ``step`` until it
returns True. What can be mended is mended here: a lock that another process still holds is waited for, a trial that
runs out of memory goes on with half the micro-batch. What cannot be mended is written as the trial's result.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import json
import os
import socket
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config.identity import STATISTICS
from far.config.trial import TrialConfig
from far.errors import (
    CancelledError,
    ConfigError,
    DamagedError,
    FarError,
    LostError,
    OutOfMemoryError,
    StorageError,
)
from far.store.atomic import clear_abandoned, read_json, write_json
from far.store.lock import FileLock, LockedError
from far.store.paths import TrialPaths
from far.store.result import Started
from orchestrator.executors.base import Job
from orchestrator.executors.failure import has_result, redirect, write_failure

if TYPE_CHECKING:
    from far.distributed import World
    from far.train.trial import TrialRun
    from orchestrator.store.remote import Replica

LOCK_WAIT = 1.0
"""Seconds of one try for a trial's lock. Its former process outlives a killed driver by a few seconds."""
LONGEST_WAIT = 60.0
"""Seconds before a retry, however many there were."""
LONGEST_REASON = 300
"""Characters of a reason; the trial's log has all of it."""


class Readiness(enum.Enum):
    """Whether a trial can be worked on."""

    GO = enum.auto()
    WAIT = enum.auto()
    ENDED = enum.auto()


class TrialHost:
    """Holds this process's part of the trial at hand.

    Args:
        world: this process's place among the trial's processes.
        capture: send what the process prints to the trial's ``log.txt``, native libraries' output included.
    """

    def __init__(self, world: World, *, capture: bool = True) -> None:
        self.world, self.capture = world, capture
        self.record: dict[str, Any] | None = None
        """Of the epoch that the last ``step`` finished, if it did."""
        self.failed = False
        """Whether the trial at hand ended by a failure."""
        self._job: Job | None = None
        self._prepared = False
        self._run: TrialRun | None = None
        self._lock: FileLock | None = None

    def start(self, job: Job) -> None:
        """Take over a trial; ``step`` builds it or resumes it from its checkpoint."""
        self.close()
        self._job, self.failed, self._prepared = job, False, False
        if self.capture:
            redirect(TrialPaths(job.directory).log)

    def prepare(self) -> Readiness:
        """Take the trial's lock and record the attempt; ranks other than 0 need neither.

        The further ranks may begin once it says ``GO``.

        Raises:
            StorageError: the trial's files cannot be written.
        """
        job = self._job
        assert job is not None
        if self._prepared or not self.world.is_main:
            return Readiness.GO
        paths = TrialPaths(job.directory)
        try:
            if self._lock is None:
                self._lock = FileLock(paths.lock, f"trial {paths.key}").acquire(timeout=LOCK_WAIT)
        except LockedError:
            return Readiness.WAIT  # another sweep, or one that was just killed, still runs it
        self._replicate(lambda replica: replica.pull_trial(paths))
        if has_result(paths) or paths.cancel.exists():
            self.close()
            return Readiness.ENDED
        clear_abandoned(paths.directory, paths.checkpoints)
        try:
            may_start(read_spec(paths), job)
            self._begin(job)
        except StorageError:
            self.close()
            raise
        except FarError as error:
            self._fail(job, error)
            return Readiness.ENDED
        self._prepared = True
        return Readiness.GO

    def step(self) -> bool:
        """Do one piece of work: build, train an epoch, finish; return whether the trial has ended.

        Raises:
            StorageError: what must be written cannot be; the trial has no result and can go on later.
            LostError: the GPU failed: this process must end, and the trial goes on in another.
            Exception: with several processes, whatever rank 0 or a restart of all of them must deal with.
        """
        from far.gpu import answers
        from far.train.library_errors import typed

        job = self._job
        assert job is not None
        self.record = None
        try:
            ready = self.prepare()
            return self._advance(job) if ready is Readiness.GO else ready is Readiness.ENDED
        except Exception as error:
            cause = typed(error, job.directory)
            details = "".join(traceback.format_exception(error))
        # Outside the handler: the traceback's frames hold the tensors that an adapted trial needs the room of.
        note(job, details)
        if not isinstance(cause, FarError) and not answers(self.world.device):
            cause = LostError(f"the GPU failed: {type(cause).__name__}: {cause}")
        if isinstance(cause, LostError):
            if self.world.is_main:
                note_loss(job, cause)
            with contextlib.suppress(Exception):  # whatever asks a GPU that has failed
                self.close()
            raise cause
        alone = self.world.size == 1
        if not self.world.is_main or isinstance(cause, StorageError) or not (alone or isinstance(cause, FarError)):
            self.close()
            raise cause
        if isinstance(cause, CancelledError):
            end_attempt(job, cause)
            self.failed = True  # the peers wait in a collective
            self.close()
            return True
        if isinstance(cause, DamagedError):  # it has been set aside: the next try takes the one before it
            end_attempt(job, cause)
            return self._again(job, cause)
        if isinstance(cause, OutOfMemoryError) and self._adapt(job, cause):
            return self._again(job, cause)
        self._fail(job, cause)
        return True

    def abandon(self) -> None:
        """Stop the trial at hand for good, before its last epoch."""
        from far.store.result import Failure

        assert self._job is not None
        write_failure(self._job.directory, Failure(kind="pruned", message="stopped early by the search"), "partial")
        self.close()

    def close(self) -> None:
        """Let go of the trial at hand; the process stays ready for the next."""
        self._drop()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _again(self, job: Job, cause: FarError) -> bool:
        """Begin the next attempt here, or let all processes start anew: the peers are in the middle of a collective."""
        self._drop()
        if self.world.size > 1:
            self.close()
            raise cause
        self._begin(job)
        return False

    def _begin(self, job: Job) -> None:
        """Record that an attempt begins, before anything that may kill the process and go uncounted."""
        paths = TrialPaths(job.directory)
        spec = read_spec(paths)
        attempts = [*(spec.get("attempts") or []), {**attempt_record(), **self._micro_batch(spec)}]
        write_json(paths.trial, {**spec, "attempts": attempts})
        write_phase(paths, "starting")

    def _micro_batch(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return the micro-batch that the attempt will have: memory may run out before the trial itself can tell."""
        from far.train.engine import micro_batch

        with contextlib.suppress(Exception):  # a wrong configuration is told of when the trial is built
            config = TrialConfig.model_validate(spec["config"])
            return {"micro_batch": micro_batch(config.recipe, config.run, self.world.size, self.world.device.type)}
        return {}

    def _advance(self, job: Job) -> bool:
        if self._run is None:
            self._run = self._open(job)
        paths = TrialPaths(job.directory)
        if not self._run.is_trained:
            self.record = self._run.train_epoch()
            self._replicate(lambda replica: replica.push_trial(paths))
        if self._run.is_trained:
            self._run.finish()
            self._replicate(lambda replica: replica.push_trial(paths))
            self.close()
            return True
        return False

    def _replicate(self, do: Callable[[Replica], None]) -> None:
        """Deal with the store's copy at a URL, if it has one. An outage is noted, and made up for at the next epoch."""
        job = self._job
        if job is None or job.replica is None or not self.world.is_main:
            return
        from orchestrator.store.remote import Replica, ReplicaError

        try:
            do(Replica(job.replica))
        except ReplicaError as error:
            note(job, f"{error}\n")

    def _open(self, job: Job) -> TrialRun:
        """Build or resume the trial."""
        from far.train.trial import TrialRun

        paths = TrialPaths(job.directory)
        spec = read_spec(paths)
        if self.world.is_main:
            write_phase(paths, "building")
        run = TrialRun(
            TrialConfig.model_validate(spec["config"]),
            spec["identity"],
            paths,
            self.world,
            data_root=job.data_root,
            weights_root=Path(spec.get("weights_root", ".")),
            profile=spec.get("profile"),
            attempts=list(spec.get("attempts", []))[:-1],  # the trial appends this start itself
        )
        if self.world.is_main:
            write_json(paths.trial, {**spec, "attempts": run.account.attempts})
            self._replicate(lambda replica: replica.push_trial(paths))
        return run

    def _adapt(self, job: Job, cause: OutOfMemoryError) -> bool:
        """Halve the micro-batch, which doubles the accumulation; return whether the trial can go on with it."""
        micro = self._run.micro if self._run is not None else None
        self._drop()
        return halve(job, cause, micro)

    def _fail(self, job: Job, cause: BaseException) -> None:
        write_failure(job.directory, cause)
        self._replicate(lambda replica: replica.push_trial(TrialPaths(job.directory)))
        self.failed = True
        self.close()

    def _drop(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
            gc.collect()


def halve(job: Job, cause: OutOfMemoryError, micro: int | None = None) -> bool:
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
    halvings = sum(attempt.get("ended") == cause.kind for attempt in attempts[spec.get("before", 0) :])
    if attempts:
        attempts[-1] |= {"ended": cause.kind, "message": str(cause)[:300]}
    fixed = (spec.get("identity") or {}).get("model", {}).get(STATISTICS) is not None  # another one is another trial
    can = micro is not None and micro > 1 and halvings < job.retry.out_of_memory and not fixed
    if can:
        assert micro is not None
        smaller = max(size for size in range(1, micro // 2 + 1) if micro % size == 0)
        spec["config"]["run"]["micro_batch"] = smaller
    write_json(paths.trial, {**spec, "attempts": attempts})
    return can


def end_attempt(job: Job, cause: FarError) -> None:
    """Write into ``trial.json`` that the last start was ended on purpose: it does not count as lost."""
    paths = TrialPaths(job.directory)
    spec = read_spec(paths)
    for attempt in (spec.get("attempts") or [])[-1:]:
        attempt |= {"ended": cause.kind}
    write_json(paths.trial, spec)


def note_loss(job: Job, cause: BaseException | str) -> None:
    """Write into ``trial.json`` why the process of the last attempt is lost."""
    paths = TrialPaths(job.directory)
    spec = read_spec(paths)
    for attempt in (spec.get("attempts") or [])[-1:]:
        attempt.setdefault("lost", " ".join(str(cause).split())[:LONGEST_REASON])
    write_json(paths.trial, spec)


def note(job: Job, text: str) -> None:
    """Append to the trial's log, if there is room."""
    with contextlib.suppress(OSError), TrialPaths(job.directory).log.open("a", encoding="utf-8") as log:
        log.write(text)


def attempt_record() -> dict[str, Any]:
    """Return what is known of an attempt when it begins."""
    from far.store.environment import code_version

    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"started_at": now, "host": socket.gethostname(), "pid": os.getpid(), "code": code_version()}


def write_phase(paths: TrialPaths, phase: str) -> None:
    """Say what the trial does before its first epoch; worthless after a crash, so neither atomic nor important."""
    with contextlib.suppress(OSError):
        paths.progress.write_text(json.dumps({"phase": phase, "epoch": 0, "done": 0, "total": 0}))


def losses(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the attempts since the trial was submitted whose process was lost."""
    attempts = (spec.get("attempts") or [])[spec.get("before", 0) :]
    return [attempt for attempt in attempts if "ended" not in attempt]


def too_often(spec: dict[str, Any], job: Job) -> LostError | None:
    """Return the error for a trial that was lost more often than it may be, else None."""
    lost = losses(spec)
    if len(lost) <= job.retry.lost:
        return None
    reason = next((attempt["lost"] for attempt in reversed(lost) if "lost" in attempt), None)
    return LostError(
        f"its process was lost {len(lost)} times (retry.lost: {job.retry.lost})"
        f"{f', the last time: {reason}' if reason else ''}; see {job.directory}/log.txt"
    )


def may_start(spec: dict[str, Any], job: Job) -> None:
    """Refuse a trial that was lost too often.

    Raises:
        LostError: the trial was lost as often as it may be since it was submitted.
    """
    if error := too_often(spec, job):
        raise error


def wait_for_retry(job: Job) -> None:
    """Wait before a trial that was lost is started again: longer each time."""
    spec = read_json(TrialPaths(job.directory).trial, Started)
    if spec is not None and (lost := len(losses(spec))):
        time.sleep(min(job.retry.wait_seconds * 2 ** (lost - 1), LONGEST_WAIT))


def read_spec(paths: TrialPaths) -> dict[str, Any]:
    """Return a trial's description.

    Raises:
        ConfigError: it is missing or broken.
    """
    spec = read_json(paths.trial, Started)
    if spec is None or "config" not in spec:
        raise ConfigError("the trial's description is missing or broken", where=str(paths.trial))
    return spec
