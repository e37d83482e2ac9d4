"""How Ray Tune is told to run trials: what it asks for the next one, when it stops one, how it starts a process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from far.store.paths import TrialPaths
from far.store.records import Failure
from orchestrator.executors.base import Job, Node, Queue, StopRequest, bundle, places, refuse_unfit
from orchestrator.executors.failure import write_failure
from orchestrator.executors.ray.losses import Losses, reason
from orchestrator.executors.ray.trainable import TrialTrainable
from orchestrator.store.remote import RemoteStore, RemoteStoreError

__all__ = ["JobSearcher", "Losses", "make_tuner", "reason"]

MOST_FAILURES = 100
"""Restarts of one trial that Tune may make; ``retry`` in the study ends it long before."""


def make_tuner(searcher: JobSearcher, losses: Losses, scratch: str, save: Callable[[], None]) -> tune.Tuner:
    """Return what runs the trials of a searcher.

    Args:
        searcher: where the trials come from.
        losses: Tune's scheduler.
        scratch: folder for Tune's own files.
        save: called before everything is stopped, unless an exception was faster.
    """
    return tune.Tuner(
        TrialTrainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=losses,
            num_samples=len(searcher.queue),
            reuse_actors=True,
            trial_dirname_creator=_name,
            trial_name_creator=_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            stop=_Stopper(searcher, save),
            # Whether a lost trial is started again is decided by its own record; this only bounds it.
            failure_config=tune.FailureConfig(max_failures=MOST_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )


class JobSearcher(Searcher):
    """Gives Tune the next job when there is room for it, so that a budget or a search decides as late as possible."""

    def __init__(self, queue: Queue, stop: StopRequest, nodes: Sequence[Node], concurrent: int | None) -> None:
        super().__init__()
        self.queue, self.stop, self.nodes = queue, stop, nodes
        self.concurrent = concurrent
        self.jobs: dict[str, Job] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it could restore from; it is never restored

    def suggest(self, trial_id: str) -> Any:
        """Return the next job's configuration, None for now, or that there is no more."""
        if self.stop or self.queue.is_empty():
            return Searcher.FINISHED
        if self.jobs and len(self.jobs) >= self._room(next(iter(self.jobs.values()))):
            return None
        job = self.queue.next()
        if job is None:
            return Searcher.FINISHED if self.queue.is_empty() else None
        refuse_unfit([job], self.nodes)
        self.jobs[trial_id] = job
        return {"job": job, "bundle": bundle(job, self.nodes)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the queue that a trial has ended."""
        job = self.jobs.pop(trial_id, None)
        if job is not None and not error and not self.stop:
            _fetch(job)
            self.queue.ended(job)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the store records what is done."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""

    def _room(self, like: Job) -> int:
        """Return how many jobs Tune may hold: those that fit at once, and one to hand to the slot that is free next."""
        if self.concurrent is not None:
            return self.concurrent
        return 1 + places(like, self.nodes) // like.devices


class _Stopper(tune.Stopper):
    """Stops a trial when the queue says so, and everything when the sweep is to stop.

    Args:
        searcher: where the trials come from.
        save: called before everything is stopped, unless an exception was faster.
    """

    def __init__(self, searcher: JobSearcher, save: Callable[[], None]) -> None:
        self._searcher, self._save = searcher, save

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if result.get("stop") is not None:
            self._searcher.stop.request(result["stop"])
            return True
        record, job = result.get("record"), self._searcher.jobs.get(trial_id)
        if job is None or not record or result.get("done"):
            return False
        if not self._searcher.queue.epoch(job, record):
            return False

        write_failure(job.directory, Failure(kind="pruned", message="stopped early by the search"), "partial")
        return True

    def stop_all(self) -> bool:
        if self._searcher.stop:
            self._save()
        return bool(self._searcher.stop)


def _fetch(job: Job) -> None:
    """Bring the files of a trial that ran on another machine here, where they come by way of a URL."""
    if job.remote_store is not None:
        with contextlib.suppress(RemoteStoreError):  # the sweep fetches all of them at its end
            RemoteStore(job.remote_store).pull_trial(TrialPaths(job.directory))


def _name(trial: Any) -> str:
    return str(trial.trial_id)
