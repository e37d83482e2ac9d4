"""Trials on Ray Tune: the executor. Tune is imported when there is something to run."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import ray

from far.errors import LostError
from orchestrator.executors import collector
from orchestrator.executors.base import (
    Job,
    Node,
    Queue,
    StopRequest,
    bundle,
    describe,
    fits,
    most_on_a_node,
    refuse_unfit,
)
from orchestrator.executors.failure import write_failure
from orchestrator.executors.ray.cluster import cluster, watched_daemons
from orchestrator.executors.ray.nodes import nodes_of
from orchestrator.executors.ray.notice import save_running
from orchestrator.executors.signals import wake_main_thread

if TYPE_CHECKING:
    from orchestrator.executors.ray.losses import Losses

T = TypeVar("T")
PENDING, RUNNING = "PENDING", "RUNNING"
"""States of Tune's trials."""


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
        # Tune needs it; meanwhile Ray's processes are waited for.
        threading.Thread(target=importlib.import_module, args=["pandas"], name="import", daemon=True).start()
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
        pending = [trial.config["job"] for trial in trials if trial.status == PENDING]
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
        with collector.paused():
            from orchestrator.executors.ray.tuning import JobSearcher, Losses, make_tuner, reason  # noqa: PLC0415  (0.8 s)

        # Tune's own files are worthless afterwards, and must not meet the disk that the store has filled.
        with tempfile.TemporaryDirectory(
            prefix="farlab-tune-", dir=self._scratch, ignore_cleanup_errors=True
        ) as scratch:
            self._losses = Losses(stop, is_ours=self._scratch is not None)
            tuner = make_tuner(
                JobSearcher(queue, stop, self._nodes, self.concurrent),
                self._losses,
                scratch,
                save=lambda: self._save_running(stop),
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
                why = f"its process was lost again and again: {reason(outcome.error)}"
                write_failure(job.directory, LostError(why))
                queue.ended(job)

    def _save_running(self, stop: StopRequest) -> None:
        """Let trials write checkpoints before their processes are ended; a second signal ends the wait."""
        losses, self._losses = self._losses, None
        if losses is None or not isinstance(stop.reason, KeyboardInterrupt):
            return  # it is done; or Ray, or the storage, is what is gone
        running = [trial for trial in losses.trials if trial.status == RUNNING]
        with contextlib.suppress(Exception):  # Ray itself is gone
            save_running([trial.config["job"].key for trial in running])


ASK = 5.0
"""Seconds that Ray has to say what is free."""


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
