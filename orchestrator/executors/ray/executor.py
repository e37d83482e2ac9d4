"""Trials on Ray Tune: the executor, and how Tune asks it for the next trial."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from far.errors import LostError
from far.store.paths import TrialPaths
from far.store.records import Failure
from orchestrator.executors.base import (
    Job,
    Node,
    Queue,
    StopRequest,
    bundle,
    describe,
    fits,
    most_on_a_node,
    places,
    refuse_unfit,
)
from orchestrator.executors.failure import write_failure
from orchestrator.executors.ray.cluster import cluster, watched_daemons
from orchestrator.executors.ray.losses import Losses, reason
from orchestrator.executors.ray.nodes import nodes_of
from orchestrator.executors.ray.notice import save_running
from orchestrator.executors.ray.trainable import TrialTrainable
from orchestrator.executors.signals import wake_main_thread
from orchestrator.store.remote import RemoteStore, RemoteStoreError

T = TypeVar("T")


class RayTuneExecutor:
    """Runs jobs on a Ray cluster through Tune, as many at once as it has room for.

    Args:
        logs: folder for the log of Ray's side of the driver.
        address: of an existing cluster; None starts one on this machine and stops it at the end.
        concurrent: largest number of trials at once; None: as many as fit.
    """

    def __init__(self, logs: Path, *, address: str | None = None, concurrent: int | None = None) -> None:
        self.logs, self.address, self.concurrent = logs, address, concurrent
        self._nodes: list[Node] = []
        self._scratch: Path | None = None
        self._losses: Losses | None = None
        self._is_open = False

    @contextlib.contextmanager
    def opened(self, stop: StopRequest) -> Iterator[None]:
        """Connect to the cluster, or start one; see ``Executor.opened``."""

        def died(name: str) -> None:
            stop.request(LostError(f"{name} has died; run the same command again to go on"))
            wake_main_thread()

        if self.address is not None:
            nodes_of(self.address)  # before Ray itself, which would wait for many minutes
        try:
            with cluster(self.address, self.logs) as self._scratch, watched_daemons(self.address, died):
                self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
                self._is_open = True
                yield
        finally:
            self._is_open = False

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs that no node can hold; see ``Executor.check``."""
        refuse_unfit(jobs, self._nodes)

    def together(self, job: Job) -> int:
        """Return how many trials like this one the fullest node may hold; see ``Executor.together``."""
        most = most_on_a_node(job, self._nodes)
        return min(most, self.concurrent or most)

    def waiting(self) -> dict[str, str]:
        """Return what Ray has jobs wait for; see ``Executor.waiting``."""
        trials = list(self._losses.trials) if self._losses is not None else []
        pending = [trial.config["job"] for trial in trials if trial.status == Trial.PENDING]
        if not pending:
            return {}
        free = _within(ASK, ray.available_resources)
        have = f"free: {describe(free)}" if free is not None else "Ray does not say what is free"
        nodes = _within(ASK, ray.nodes) or []
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        words = {}
        for job in pending:
            needs = " and ".join(f"{amount:g} {kind}s" for kind, amount in bundle(job, self._nodes).items())
            never = f"; no living node can hold it: it {why}" if alive and (why := fits(job, alive)) else ""
            words[job.key] = f"waits for {job.devices} x {needs} ({have}){never}"
        return words

    def run(self, queue: Queue, stop: StopRequest) -> None:
        """Run jobs until the queue is empty; see ``Executor.run``."""
        with contextlib.nullcontext() if self._is_open else self.opened(stop):
            if not stop:
                self._fit(queue, stop)
        if stop.reason is not None:
            raise stop.reason

    def _fit(self, queue: Queue, stop: StopRequest) -> None:
        nodes = self._nodes
        # Tune's own files are worthless afterwards, and must not meet the disk that the store has filled.
        with tempfile.TemporaryDirectory(
            prefix="farlab-tune-", dir=self._scratch, ignore_cleanup_errors=True
        ) as scratch:
            feed = _Feed(queue, stop, nodes, self.concurrent)
            self._losses = Losses(stop)
            tuner = tune.Tuner(
                tune.with_resources(TrialTrainable, lambda config: _bundles(config["job"], nodes)),
                tune_config=tune.TuneConfig(
                    search_alg=feed,
                    scheduler=self._losses,
                    num_samples=len(queue),
                    reuse_actors=True,
                    trial_dirname_creator=_name,
                    trial_name_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    stop=_Stopper(feed, lambda: self._save_running(stop)),
                    # Whether a lost trial is started again is decided by its own record; this only bounds it.
                    failure_config=tune.FailureConfig(max_failures=MOST_FAILURES),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    verbose=0,
                ),
            )
            try:
                results: Any = tuner.fit()
            finally:
                self._save_running(stop)
        if stop:
            return
        for outcome in results:
            if outcome.error is not None and outcome.config is not None:
                job = outcome.config["job"]
                write_failure(
                    job.directory, LostError(f"its process was lost again and again: {reason(outcome.error)}")
                )
                queue.ended(job)

    def _save_running(self, stop: StopRequest) -> None:
        """Let trials write checkpoints before their processes are ended; a second signal ends the wait."""
        losses, self._losses = self._losses, None
        if losses is None or not isinstance(stop.reason, KeyboardInterrupt):
            return  # it is done; or Ray, or the storage, is what is gone
        running = [trial for trial in losses.trials if trial.status == Trial.RUNNING]
        with contextlib.suppress(Exception):  # Ray itself is gone
            save_running([trial.config["job"].key for trial in running])


MOST_FAILURES = 100
"""Restarts of one trial that Tune may make; ``retry`` in the study ends it long before."""
ASK = 5.0
"""Seconds that Ray has to say what is free."""


class _Feed(Searcher):
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
        return {"job": job}

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
        feed: where the trials come from.
        save: called before everything is stopped, unless an exception was faster.
    """

    def __init__(self, feed: _Feed, save: Callable[[], None]) -> None:
        self._feed, self._save = feed, save

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

        write_failure(job.directory, Failure(kind="pruned", message="stopped early by the search"), "partial")
        return True

    def stop_all(self) -> bool:
        if self._feed.stop:
            self._save()
        return bool(self._feed.stop)


def _fetch(job: Job) -> None:
    """Bring the files of a trial that ran on another machine here, where they come by way of a URL."""
    if job.remote_store is not None:
        with contextlib.suppress(RemoteStoreError):  # the sweep fetches all of them at its end
            RemoteStore(job.remote_store).pull_trial(TrialPaths(job.directory))


def _name(trial: Any) -> str:
    return str(trial.trial_id)


def _bundles(job: Job, nodes: Sequence[Node]) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([bundle(job, nodes)] * job.devices, strategy="PACK")


def _within(seconds: float, ask: Callable[[], T]) -> T | None:
    """Return the answer of a call that may hang, None if it does not come in time."""
    answers: list[T] = []

    def call() -> None:
        with contextlib.suppress(Exception):
            answers.append(ask())

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None
