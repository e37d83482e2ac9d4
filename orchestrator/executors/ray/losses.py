"""Processes that Ray loses: each loss is counted and given Ray's reason, and a trial that is lost too often ends.

A worker records an attempt once it holds its trial's lock. What dies before that (an interpreter that lacks a package,
a worker that the memory monitor ends, a crash while CUDA starts) is recorded here, by the driver.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from far.errors import ConfigError, StorageError
from far.store.lock import FileLock, LockedError
from far.store.paths import TrialPaths
from far.store.records import has_result, write_spec
from orchestrator.executors.attempts import LONGEST_REASON, note, read_spec, too_often
from orchestrator.executors.base import Job, StopRequest
from orchestrator.executors.failure import write_failure

LOCK_WAIT = 2.0
"""Seconds that the driver waits for the lock of a trial whose process has died."""


class Losses(FIFOScheduler):
    """Tune's plain scheduler, which is called on every failure and counts them.

    Args:
        stop: set if the account cannot be written.
        is_ours: whether the cluster was started by this process, on this machine.

    Attributes:
        trials: Tune's current trials.
    """

    def __init__(self, stop: StopRequest, *, is_ours: bool = False) -> None:
        super().__init__()
        self.trials: list[Trial] = []
        self._stop, self._is_ours = stop, is_ours
        self._seen: dict[str, int] = {}
        self._ended: list[Trial] = []

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it could restore from; it is never restored

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Note how many attempts a trial has before this sweep's first."""
        if self._is_ours:
            _take_waiting_processes(tune_controller, trial)
        job: Job = trial.config["job"]
        if job.key not in self._seen:
            self._seen[job.key] = _attempts(job)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Account for a failure; a trial that has ended by it is not started again."""
        job: Job = trial.config["job"]
        try:
            if account(job, _error(trial), self._seen[job.key]):
                self._ended.append(trial)
        except StorageError as problem:
            self._stop.request(problem)
        self._seen[job.key] = _attempts(job)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Drop the trials that have ended before Tune starts them again."""
        self.trials = tune_controller.get_trials()
        while self._ended:
            trial = self._ended.pop()
            if trial.status == Trial.PENDING:  # not by `stop_trial`, which prints
                tune_controller._set_trial_status(trial, Trial.TERMINATED)
                tune_controller.search_alg.on_trial_complete(trial.trial_id)
        return _without_process(tune_controller, self.trials) or super().choose_trial_to_run(tune_controller)


def _without_process(tune_controller: Any, trials: Sequence[Trial]) -> Trial | None:
    """Return the first trial that waits and for which no process is being started, if there is one.

    Whatever is chosen is given a process that has ended its trial, and Tune ends the one that was being started for it.
    Where trials take less time than the start of a process, no second one would ever come up.
    """
    actor_of: dict[Trial, Any] = getattr(tune_controller, "_trial_to_actor", {})
    manager: Any = getattr(tune_controller, "_actor_manager", None)
    for trial in trials:
        if trial.status == Trial.PENDING and not (trial in actor_of and manager.is_actor_started(actor_of[trial])):
            return trial
    return None


def _take_waiting_processes(tune_controller: Any, trial: Trial) -> None:
    """Let trials have processes of the cluster as they are.

    Tune asks for an environment with some of this process's variables, for which another interpreter is started, twice;
    the processes of a cluster that was started here have them all.
    """
    known = getattr(getattr(tune_controller, "_class_cache", None), "_cache", None)
    trainable = trial.get_trainable_cls()
    if isinstance(known, dict) and trainable not in known:
        known[trainable] = ray.remote(trainable)


def account(job: Job, error: object, seen: int) -> bool:
    """Write into a trial's record that its process was lost.

    Args:
        job: the trial.
        error: what Ray says of it.
        seen: attempts that were recorded before the process was started.

    Returns:
        Whether the trial has ended: it has a result, or was lost as often as it may be.

    Raises:
        StorageError: the record cannot be written.
    """
    paths = TrialPaths(job.directory)
    try:
        with FileLock(paths.lock, f"trial {job.key}").acquire(timeout=LOCK_WAIT):
            if has_result(paths):
                return True
            spec = read_spec(paths)
            attempts = list(spec.get("attempts") or [])
            if len(attempts) == seen:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                attempts.append({"started_at": now, "lost": reason(error)})
            elif "ended" in attempts[-1]:
                return False  # it was mended, or is tried in another way: nothing was lost
            else:
                attempts[-1].setdefault("lost", reason(error))
            note(job, f"lost: {error}\n")
            spec["attempts"] = attempts
            write_spec(paths, spec)
            if lost := too_often(spec, job):
                write_failure(job.directory, lost)
            return lost is not None
    except LockedError:
        return False  # another sweep runs it
    except ConfigError as broken:
        write_failure(job.directory, broken)
        return True


def reason(error: object) -> str:
    """Return the cause that Ray gives for a lost process, in one line."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        text = f"{type(error.cause).__name__}: {error.cause}"
    else:
        text = str(error).strip() or type(error).__name__
        if "Traceback (most recent call last)" in text or "creation task" in text:
            text = text.splitlines()[-1]
        elif isinstance(error, OutOfMemoryError) or "running low on memory" in text:
            text = re.sub(r", ID: \w+", "", text.splitlines()[0])
        elif found := re.search(r"Worker exit detail: (.*)", text):
            text = found[1].partition(" There are some potential root causes")[0]
    return " ".join(text.split())[:LONGEST_REASON]


def _error(trial: Trial) -> object:
    """Return the last error of a trial: the exception, or its text where that cannot be read."""
    try:
        return pickle.loads(Path(trial.pickled_error_file).read_bytes())  # written by this process a moment ago
    except Exception:
        try:
            return Path(trial.error_file).read_text().rpartition("Failure # ")[2].partition("\n")[2]
        except Exception:
            return "Ray gives no reason"


def _attempts(job: Job) -> int:
    try:
        return len(read_spec(TrialPaths(job.directory)).get("attempts") or [])
    except ConfigError:
        return 0
