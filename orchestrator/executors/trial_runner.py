"""One process that hosts trials one after another: start, epoch by epoch, finish; what fails becomes a result.

Who owns the process (Ray Tune's trainable, or the in-process executor) calls ``start`` and then ``step`` until it
returns True. What can be mended is mended here: a lock that another process still holds is waited for, a trial that
runs out of memory goes on with half the micro-batch. What cannot be mended is written as the trial's result.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config.trial import TrialConfig
from far.data.sharing import leftovers
from far.errors import (
    CancelledError,
    ConfigError,
    DamagedError,
    FarError,
    LostError,
    OutOfMemoryError,
    StorageError,
    TrialInterruptedError,
)
from far.gpu import answers
from far.library_errors import classify_error
from far.plugins import blamed, load_code
from far.store.atomic import clear_abandoned, write_json
from far.store.lock import FileLock, LockedError
from far.store.paths import TrialPaths
from far.store.records import Failure, has_result, with_start, write_spec
from far.train.heartbeat import KEPT
from far.train.interruption import Interruption
from orchestrator.executors.attempts import (
    begin_attempt,
    end_attempt,
    may_start,
    note,
    note_loss,
    read_spec,
    reduce_micro_batch,
    write_phase,
)
from orchestrator.executors.base import Job
from orchestrator.executors.failure import redirect, write_failure
from orchestrator.store.remote import RemoteStore, RemoteStoreError

if TYPE_CHECKING:
    from far.distributed import World
    from far.train.trial import TrialRun

LOCK_WAIT = 1.0
"""Seconds of one try for a trial's lock. Its former process outlives a killed driver by a few seconds."""


class Readiness(enum.Enum):
    """Whether a trial can be worked on."""

    GO = enum.auto()
    WAIT = enum.auto()
    ENDED = enum.auto()


class Watcher:
    """Receives a trial's events in this process, on rank 0; this one does nothing."""

    def built(self, run: TrialRun) -> None:
        """Take note that it has been built, or resumed."""

    def epoch(self, record: dict[str, Any]) -> None:
        """Take note of a finished epoch."""


class TrialRunner:
    """Holds this process's part of the current trial.

    Args:
        world: this process's place among the trial's processes.
        capture: send what the process prints to the trial's ``log.txt``, native libraries' output included.
        interruption: requests to end this process; signals are handled in any case.
        watcher: receives events.
    """

    def __init__(
        self,
        world: World,
        *,
        capture: bool = True,
        interruption: Interruption | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.world, self.capture = world, capture
        self.watcher = watcher if watcher is not None and world.is_main else Watcher()
        self.interruption = interruption if interruption is not None else Interruption()
        self.record: dict[str, Any] | None = None
        """Of the epoch that the last ``step`` finished, if it did."""
        self.failed = False
        """Whether the current trial ended by a failure."""
        self._job: Job | None = None
        self._prepared = False
        self._has_plugins = False
        self._run: TrialRun | None = None
        self._lock: FileLock | None = None

    def start(self, job: Job) -> None:
        """Take over a trial; ``step`` builds it or resumes it from its checkpoint."""
        self.close()
        self._job, self.failed, self._prepared, self._has_plugins = job, False, False, False
        if self.capture:
            redirect(TrialPaths(job.directory).log)
            logging.getLogger("far").addHandler(KEPT)

    def prepare(self) -> Readiness:
        """Take the trial's lock and record the attempt; ranks other than 0 need neither.

        The further ranks may begin once it says ``GO``.

        Raises:
            StorageError: the trial's files cannot be written.
            ConfigError: a plug-in cannot be loaded here.
        """
        job = self._job
        assert job is not None
        if not self._has_plugins:
            for code in job.plugins:
                load_code(code, TrialPaths(job.directory).plugins / code.digest)
            self._has_plugins = True
        if self._prepared or not self.world.is_main:
            return Readiness.GO
        paths = TrialPaths(job.directory)
        try:
            if self._lock is None:
                self._lock = FileLock(paths.lock, f"trial {paths.key}").acquire(timeout=LOCK_WAIT)
        except LockedError:
            return Readiness.WAIT  # another sweep, or one that was just killed, still runs it
        self._synchronise(lambda remote: remote.pull_trial(paths))
        if has_result(paths) or paths.cancel.exists():
            self.close()
            return Readiness.ENDED
        clear_abandoned(paths.directory, paths.checkpoints)
        leftovers.clear()  # of whoever was killed on this machine, which no sweep may have started
        try:
            may_start(read_spec(paths), job)
            begin_attempt(job, self.world)
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
            TrialInterruptedError: this process was asked to end; the trial has a checkpoint and can go on later.
            Exception: with several processes, whatever rank 0 or a restart of all of them must deal with.
        """
        job = self._job
        assert job is not None
        self.record = None
        try:
            ready = self.prepare()
            return self._advance(job) if ready is Readiness.GO else ready is Readiness.ENDED
        except Exception as error:
            cause = classify_error(error, job.directory)
            details, place = "".join(traceback.format_exception(error)), blamed(error)
        # Outside the handler: the traceback's frames hold the tensors that an adapted trial needs the room of.
        note(job, details)
        if not isinstance(cause, FarError) and not answers(self.world.device):
            cause = LostError(f"the GPU failed: {type(cause).__name__}: {cause}")
        if not isinstance(cause, FarError) and place is not None:
            cause = ConfigError(f"{type(cause).__name__}: {cause}", where=place)  # no other start will mend it
        return self._answer_to(cause)(self, job, cause)

    def _answer_to(self, cause: BaseException) -> Answer:
        if isinstance(cause, LostError):
            return TrialRunner._lose
        if not self.world.is_main or (self.world.size > 1 and not isinstance(cause, FarError)):
            return TrialRunner._pass_on
        return next((ANSWERS[kind] for kind in type(cause).__mro__ if kind in ANSWERS), TrialRunner._fail)

    # -- answers to what went wrong: each deals with it and returns whether the trial has ended --

    def _pass_on(self, job: Job, cause: BaseException) -> bool:
        self.close()
        raise cause

    def _lose(self, job: Job, cause: BaseException) -> bool:
        if self.world.is_main:
            note_loss(job, cause)
        with contextlib.suppress(Exception):  # whatever asks a GPU that has failed
            self.close()
        raise cause

    def _interrupt(self, job: Job, cause: BaseException) -> bool:
        self._synchronise(lambda remote: remote.push_trial(TrialPaths(job.directory)))
        end_attempt(job, cause)
        return self._pass_on(job, cause)

    def _cancel(self, job: Job, cause: BaseException) -> bool:
        end_attempt(job, cause)
        self.failed = True  # the peers wait in a collective
        self.close()
        return True

    def _take_the_one_before(self, job: Job, cause: BaseException) -> bool:
        end_attempt(job, cause)  # the damaged checkpoint has been set aside
        return self._again(job, cause)

    def _adapt(self, job: Job, cause: BaseException) -> bool:
        """Halve the micro-batch, which doubles the accumulation, and go on if the trial can."""
        micro = self._run.micro if self._run is not None else None
        self._drop()
        return self._again(job, cause) if reduce_micro_batch(job, cause, micro) else self._fail(job, cause)

    def _fail(self, job: Job, cause: BaseException) -> bool:
        write_failure(job.directory, cause)
        self._synchronise(lambda remote: remote.push_trial(TrialPaths(job.directory)))
        self.failed = True
        self.close()
        return True

    def _again(self, job: Job, cause: BaseException) -> bool:
        """Begin the next attempt here, or restart all processes: the peers are in the middle of a collective."""
        self._drop()
        if self.world.size > 1:
            return self._pass_on(job, cause)
        begin_attempt(job, self.world)
        return False

    # -- the current trial --

    def abandon(self) -> None:
        """Stop the current trial for good, before its last epoch."""
        assert self._job is not None
        write_failure(self._job.directory, Failure(kind="pruned", message="stopped early by the search"), "partial")
        self.close()

    def close(self) -> None:
        """Release the current trial; the process stays ready for the next."""
        self._drop()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _advance(self, job: Job) -> bool:
        if self._run is None:
            self._run = self._open(job)
        paths = TrialPaths(job.directory)
        if not self._run.is_trained:
            self.record = self._run.train_epoch()
            self.watcher.epoch(self.record)
            self._synchronise(lambda remote: remote.push_trial(paths))
        if self._run.is_trained:
            self._run.finish()
            self._synchronise(lambda remote: remote.push_trial(paths))
            self.close()
            return True
        return False

    def _synchronise(self, do: Callable[[RemoteStore], None]) -> None:
        """Deal with the store's copy at a URL, if it has one. An outage is noted, and made up for at the next epoch."""
        job = self._job
        if job is None or job.remote_store is None or not self.world.is_main:
            return

        try:
            do(RemoteStore(job.remote_store))
        except RemoteStoreError as error:
            note(job, f"{error}\n")

    def _open(self, job: Job) -> TrialRun:
        """Build or resume the trial."""
        from far.train.trial import TrialRun

        paths = TrialPaths(job.directory)
        spec = read_spec(paths)
        if self.world.is_main:
            write_phase(paths, "building")

        def push() -> None:
            self._synchronise(lambda remote: remote.push_trial(paths))

        run = TrialRun(
            TrialConfig.model_validate(spec["config"]),
            spec.get("identity") or {},
            paths,
            self.world,
            data_root=job.data_root,
            weights_root=Path(spec.get("weights_root", ".")),
            attempts=list(spec.get("attempts") or [])[:-1],  # the trial appends this start itself
            interruption=self.interruption,
            on_checkpoint=push,
            companions=job.companions,
        )
        if self.world.is_main:
            splits = (video.split for video in run.manifest.videos)
            write_spec(paths, with_start(spec, run.account.attempts, run.account.source.as_json(), splits))
            write_json(paths.classes, list(run.manifest.labels))
            push()
        self.watcher.built(run)
        return run

    def _drop(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
            gc.collect()


Answer = Callable[[TrialRunner, Job, BaseException], bool]

ANSWERS: dict[type[BaseException], Answer] = {
    StorageError: TrialRunner._pass_on,
    TrialInterruptedError: TrialRunner._interrupt,
    CancelledError: TrialRunner._cancel,
    DamagedError: TrialRunner._take_the_one_before,
    OutOfMemoryError: TrialRunner._adapt,
}
"""What is done about an error of a type, or of one derived from it; anything else is the trial's result."""
