"""What an executor is: it takes jobs and returns when none is left to run; their outcome is in the store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from far.errors import ConfigError
from far.plugins import PluginCode
from orchestrator.study.schema import RetryConfig


@dataclass(frozen=True)
class Job:
    """One trial to run. Everything else about it stands in its ``trial.json``.

    Attributes:
        directory: the trial's folder in the store, absolute.
        data_root: folder of data sets, absolute.
        devices: processes of the trial, one per GPU where there are GPUs.
        cpus: CPU cores that each of these processes takes.
        gpus: GPUs that each of these processes takes, where there are any; a part of one shares it with other trials.
        retry: how often the trial is started again, by what ended it.
        remote_store: URL that its files are kept at, if the store is no shared folder.
        plugins: the plug-ins that it needs, which whoever runs it loads first.
        companions: how many other trials of this run that read the same frames may run on its machine at the same time.
    """

    directory: Path
    data_root: Path
    devices: int
    cpus: float
    gpus: float = 1.0
    retry: RetryConfig = field(default_factory=RetryConfig)
    remote_store: str | None = None
    plugins: tuple[PluginCode, ...] = ()
    companions: int = 0

    @property
    def key(self) -> str:
        """The trial's key."""
        return self.directory.name

    @property
    def threads(self) -> int:
        """CPU threads of each process."""
        return max(1, int(self.cpus))


class Queue(Protocol):
    """Where an executor gets its jobs: a fixed list, or a search that decides by what has come back."""

    def next(self) -> Job | None:
        """Return the next job to start, None if there is none now (``is_empty``: whether there will be)."""

    def is_empty(self) -> bool:
        """Return whether no job will come any more."""

    def epoch(self, job: Job, record: dict[str, Any]) -> bool:
        """Take note of a finished epoch; return whether the trial is to be stopped."""

    def ended(self, job: Job) -> None:
        """Take note that a job's result is in the store, or that it was stopped."""

    def __len__(self) -> int:
        """Return the largest number of jobs that may come."""


class ListQueue:
    """A fixed list of jobs, started in order for as long as ``may_start`` allows.

    Args:
        jobs: what is to run.
        may_start: asked before each start; a budget that is used up says no.
    """

    def __init__(self, jobs: Iterable[Job], may_start: Callable[[], bool] = lambda: True) -> None:
        self._jobs = list(jobs)
        self._waiting: Iterator[Job] = iter(self._jobs)
        self._may_start = may_start
        self._empty = not self._jobs
        self.started = 0

    def next(self) -> Job | None:
        """Return the next job; see ``Queue``."""
        job = next(self._waiting, None) if not self._empty and self._may_start() else None
        self.started += job is not None
        self._empty = job is None or self.started == len(self._jobs)
        return job

    def is_empty(self) -> bool:
        """Return whether the list is used up, or nothing may be started any more."""
        return self._empty

    def epoch(self, job: Job, record: dict[str, Any]) -> bool:
        """Never stop a trial of a fixed list: a trial cut short enters no table."""
        return False

    def ended(self, job: Job) -> None:
        """Nothing depends on it."""

    def __len__(self) -> int:
        return len(self._jobs)


class ChainedQueue:
    """Several queues, one after another: an ablation's rows first, then what its search proposes."""

    def __init__(self, queues: Iterable[Queue]) -> None:
        self._queues = list(queues)
        self._of: dict[str, Queue] = {}

    def next(self) -> Job | None:
        """Return the next job of the first queue that is not empty."""
        for queue in self._queues:
            job = None if queue.is_empty() else queue.next()
            if job is not None:
                self._of[job.key] = queue
            if job is not None or not queue.is_empty():
                return job
        return None

    def is_empty(self) -> bool:
        """Return whether all queues are."""
        return all(queue.is_empty() for queue in self._queues)

    def epoch(self, job: Job, record: dict[str, Any]) -> bool:
        """Tell the queue that the job came from."""
        return self._of[job.key].epoch(job, record)

    def ended(self, job: Job) -> None:
        """Tell the queue that the job came from."""
        self._of[job.key].ended(job)

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues)


class StopRequest:
    """A request to stop, set by whoever notices first: the user's signal, a full disk."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason: BaseException | None = None

    def request(self, reason: BaseException) -> None:
        """Ask for a stop; the first reason stays."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


Node = Mapping[str, float]
"""What one node of a cluster has: ``CPU`` and, where there are any, ``GPU``."""


def bundle(job: Job, nodes: Sequence[Node]) -> dict[str, float]:
    """Return what each process of a trial takes of one node: no GPU where no node has any."""
    needs = {"CPU": float(job.cpus)}
    if job.gpus and any(node.get("GPU", 0.0) > 0 for node in nodes):
        needs["GPU"] = float(job.gpus)
    return needs


def places(job: Job, nodes: Sequence[Node]) -> int:
    """Return how many processes of a trial the nodes can hold at once if nothing else runs on them."""
    needs = {kind: amount for kind, amount in bundle(job, nodes).items() if amount > 0}
    return sum(
        min((_times(node.get(kind, 0.0), amount) for kind, amount in needs.items()), default=0) for node in nodes
    )


def most_on_a_node(job: Job, nodes: Sequence[Node]) -> int:
    """Return how many trials like this one can have processes on one and the same node if nothing else runs there."""
    on_all = places(job, nodes) // job.devices
    on_one = [places(job, [node]) for node in nodes]
    # A trial that no node can hold has processes on several, next to those of others.
    return max((number // job.devices or min(number, on_all) for number in on_one), default=0)


def _times(have: float, amount: float) -> int:
    """Return how often an amount fits into what a node has; a part of a GPU is a part of one and the same."""
    tiny = 1e-9
    return int(have) * int(1 / amount + tiny) if amount < 1 <= have else int(have / amount + tiny)


def fits(job: Job, nodes: Sequence[Node]) -> str | None:
    """Return why a trial can never run on these nodes, None if it can: each process needs its share on one node."""
    if places(job, nodes) >= job.devices:
        return None
    needs = " and ".join(f"{amount:g} {kind}s" for kind, amount in bundle(job, nodes).items())
    each = f"{job.devices} processes with {needs} each" if job.devices > 1 else needs
    have = "; ".join(
        f"{count} x {text}" if count > 1 else text for text, count in Counter(map(describe, nodes)).most_common()
    )
    where = "this machine has" if len(nodes) == 1 else f"the {len(nodes)} nodes of the cluster have"
    room = f", room for {places(job, nodes)} of the processes" if job.devices > 1 else ""
    return f"wants {each} on one node, {where} {have or 'nothing'}{room}"


def describe(node: Node) -> str:
    """Return a node's resources in words."""
    return ", ".join(f"{node.get(kind, 0.0):g} {kind}s" for kind in ("CPU", "GPU") if kind == "CPU" or kind in node)


def refuse_unfit(jobs: Iterable[Job], nodes: Sequence[Node]) -> None:
    """Refuse jobs that no node can hold, rather than wait for room forever.

    Raises:
        ConfigError: a job can never run.
    """
    for job in jobs:
        if why := fits(job, nodes):
            lacking = "GPU" in bundle(job, nodes) and all(node.get("GPU", 0.0) < job.gpus for node in nodes)
            key = "run.devices" if job.devices > 1 or lacking else "run.cpus"
            raise ConfigError(f"trial {job.key} {why}", key=key)


class Executor(Protocol):
    """Runs jobs; each leaves a ``result.json``, whatever happens to it, unless the sweep is interrupted."""

    def opened(self, stop: StopRequest) -> AbstractContextManager[None]:
        """Return what holds the processes and connections that ``run`` needs; ``stop`` is set if they are lost.

        Raises:
            ConfigError: on entering: there is no such cluster.
        """

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs that can never run, before anything is written for them; call it when ``opened``.

        Raises:
            ConfigError: why.
        """

    def together(self, job: Job) -> int:
        """Return how many trials like this one may run at the same time on one machine; call it when ``opened``."""

    def waiting(self) -> dict[str, str]:
        """Return what jobs that have not begun wait for, by key; called while they run, from any thread."""

    def run(self, queue: Queue, stop: StopRequest) -> None:
        """Run jobs until the queue is empty.

        Raises:
            KeyboardInterrupt: the user asked to stop.
            StorageError: results cannot be written; the same.
            FarError: no job can be run at all.
        """


def most_together(executor: Executor, job: Job) -> int:
    """Return ``executor.together(job)``; 1 of an executor that was written before it was asked for."""
    together: Callable[[Job], int] = getattr(executor, "together", lambda job: 1)
    return together(job)
