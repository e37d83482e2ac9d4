"""What an executor is: it takes jobs and returns when none is left to run; their outcome is in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestrator.study.schema import RetryConfig


@dataclass(frozen=True)
class Job:
    """One trial to run. Everything else about it stands in its ``trial.json``.

    Attributes:
        directory: the trial's folder in the store, absolute.
        data_root: folder of data sets, absolute.
        devices: processes of the trial, one a GPU where there are GPUs.
        cpus: CPU cores that each of these processes takes.
        gpus: GPUs that each of these processes takes, where there are any; a part of one shares it with other trials.
        retry: how often the trial is started again, by what ended it.
        replica: URL that its files are kept at, if the store is no shared folder.
    """

    directory: Path
    data_root: Path
    devices: int
    cpus: float
    gpus: float = 1.0
    retry: RetryConfig = field(default_factory=RetryConfig)
    replica: str | None = None

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
        """Return the next job to start, None if there is none now (``is_empty`` tells whether there will be)."""

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


class Chain:
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


class Stop:
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


class Executor(Protocol):
    """Runs jobs; each leaves a ``result.json``, whatever happens to it, unless the sweep is interrupted."""

    def run(self, queue: Queue, stop: Stop) -> None:
        """Run jobs until the queue is empty.

        Raises:
            KeyboardInterrupt: the user asked to stop; nothing that this executor started is left running.
            StorageFullError: the disk is full; the same.
            FarError: no job can be run at all.
        """
