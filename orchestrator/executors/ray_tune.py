"""Trials on Ray Tune: the executor, and how Tune asks it for the next trial."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from far.errors import ConfigError, LostError
from orchestrator.executors.base import Job, Queue, Stop
from orchestrator.executors.outcome import write_failure
from orchestrator.executors.trainable import TrialTrainable


class RayTuneExecutor:
    """Runs jobs on a Ray cluster through Tune, as many at once as it has room for.

    Args:
        logs: folder for the log of Ray's side of the driver.
        address: of an existing cluster; None starts one on this machine and stops it at the end.
        concurrent: at most so many trials at once; None: as many as fit.
    """

    def __init__(self, logs: Path, *, address: str | None = None, concurrent: int | None = None) -> None:
        self.logs, self.address, self.concurrent = logs, address, concurrent

    def run(self, queue: Queue, stop: Stop) -> None:
        """Run jobs until the queue is empty; see ``Executor.run``."""
        from orchestrator.executors.cluster import cluster, watched_node

        def node_died() -> None:
            stop.request(LostError("Ray's node manager on this machine has died; run the same command again to go on"))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        try:
            # On a cluster that is not ours, a node's death is Ray's business: its trials start again elsewhere.
            watch = watched_node(node_died) if self.address is None else contextlib.nullcontext()
            with cluster(self.address, self.logs) as (resources, scratch), watch:
                if not stop:
                    self._fit(queue, stop, resources, scratch)
        except KeyboardInterrupt:
            if not isinstance(stop.reason, LostError):
                raise
        if stop.reason is not None:
            raise stop.reason

    def _fit(self, queue: Queue, stop: Stop, resources: dict[str, float], parent: Path | None) -> None:
        # Tune's own files are worthless afterwards, and must not meet the disk that the store has filled.
        with tempfile.TemporaryDirectory(prefix="farlab-tune-", dir=parent, ignore_cleanup_errors=True) as scratch:
            feed = _Feed(queue, stop, resources, self.concurrent)
            tuner = tune.Tuner(
                tune.with_resources(TrialTrainable, lambda config: _bundles(config["job"], resources)),
                tune_config=tune.TuneConfig(
                    search_alg=feed,
                    num_samples=len(queue),
                    reuse_actors=True,
                    trial_dirname_creator=_name,
                    trial_name_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    stop=_Stopper(feed),
                    # Whether a lost trial is started again is decided by its own record; this only bounds it.
                    failure_config=tune.FailureConfig(max_failures=MOST_FAILURES),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    verbose=0,
                ),
            )
            results: Any = tuner.fit()
        if stop:
            return
        for outcome in results:
            if outcome.error is not None and outcome.config is not None:
                job = outcome.config["job"]
                write_failure(job.directory, LostError(f"its process died again and again: {outcome.error}"))
                queue.ended(job)


MOST_FAILURES = 100
"""Restarts of one trial that Tune may make; ``retry`` in the study ends it long before."""


class _Feed(Searcher):
    """Gives Tune the next job when there is room for it, so that a budget or a search decides as late as possible."""

    def __init__(self, queue: Queue, stop: Stop, resources: dict[str, float], concurrent: int | None) -> None:
        super().__init__()
        self.queue, self.stop, self.resources = queue, stop, resources
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
        _check(job, self.resources)
        self.jobs[trial_id] = job
        return {"job": job}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the queue that a trial has ended."""
        job = self.jobs.pop(trial_id, None)
        if job is not None and not error and not self.stop:
            _fetch(job)
            self.queue.ended(job)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the store knows what is done."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""

    def _room(self, like: Job) -> int:
        """Return how many jobs Tune may hold: those that fit at once, and one to hand to the slot that is free next."""
        if self.concurrent is not None:
            return self.concurrent
        need = _needs(like, self.resources)
        return 1 + int(min(self.resources.get(kind, 0.0) / amount for kind, amount in need.items()))


class _Stopper(tune.Stopper):
    """Stops a trial when the queue says so, and everything when the sweep is to stop."""

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if result.get("stop") is not None:
            self._feed.stop.request(result["stop"])
            return True
        record, job = result.get("record"), self._feed.jobs.get(trial_id)
        if job is None or not record or result.get("done"):
            return False
        if not self._feed.queue.epoch(job, record):
            return False
        from far.result import Failure

        write_failure(job.directory, Failure(kind="pruned", message="stopped early by the search"), "partial")
        return True

    def stop_all(self) -> bool:
        return bool(self._feed.stop)


def _fetch(job: Job) -> None:
    """Bring the files of a trial that ran on another machine here, where they come by way of a URL."""
    if job.replica is not None:
        from far.files import TrialPaths
        from orchestrator.replica import Replica, ReplicaError

        with contextlib.suppress(ReplicaError):  # the sweep fetches all of them at its end
            Replica(job.replica).pull_trial(TrialPaths(job.directory))


def _name(trial: Any) -> str:
    return str(trial.trial_id)


def _bundle(job: Job, resources: dict[str, float]) -> dict[str, float]:
    bundle = {"CPU": float(job.cpus)}
    if resources.get("GPU", 0) > 0 and job.gpus:
        bundle["GPU"] = float(job.gpus)
    return bundle


def _bundles(job: Job, resources: dict[str, float]) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([_bundle(job, resources)] * job.devices, strategy="PACK")


def _needs(job: Job, resources: dict[str, float]) -> dict[str, float]:
    return {kind: amount * job.devices for kind, amount in _bundle(job, resources).items()}


def _check(job: Job, resources: dict[str, float]) -> None:
    """Refuse what the cluster can never have room for: Ray would wait for it forever.

    Raises:
        ConfigError: the trial wants more than there is.
    """
    for kind, amount in _needs(job, resources).items():
        if amount > resources.get(kind, 0.0):
            raise ConfigError(
                f"trial {job.key} wants {amount:g} {kind}s ({job.devices} processes), the cluster has "
                f"{resources.get(kind, 0.0):g}",
                key="run.devices" if kind == "GPU" else "run.cpus",
            )
