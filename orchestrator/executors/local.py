"""The in-process executor: one trial after another, here. For debugging, single trials, and tests that need no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from far.collectives import greatest_over_ranks
from far.distributed import Launched, join_world
from far.errors import ConfigError, TrialInterruptedError
from orchestrator.executors.base import Job, Queue, StopRequest
from orchestrator.executors.trial_runner import Readiness, TrialRunner, Watcher


class LocalExecutor:
    """Runs each job in this process; a trial that fails leaves a failed result and the next one starts.

    Args:
        launched: this process's place among those that a launcher has started for one and the same job; default: alone.
        watcher: receives the trials' events.
    """

    def __init__(self, launched: Launched | None = None, watcher: Watcher | None = None) -> None:
        self._launched, self._watcher = launched, watcher or Watcher()

    def opened(self, stop: StopRequest) -> AbstractContextManager[None]:
        """Return nothing to hold: this process is all there is."""
        return nullcontext()

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs that want more processes than there are; see ``Executor.check``."""
        for job in jobs:
            if job.devices != (self._launched.size if self._launched else 1):
                raise ConfigError(f"the in-process executor has one process, not {job.devices}", key="run.devices")

    def together(self, job: Job) -> int:
        """Return 1: they run one after another."""
        return 1

    def waiting(self) -> dict[str, str]:
        """Return nothing: the one trial that runs waits for no resources."""
        return {}

    def run(self, queue: Queue, stop: StopRequest) -> None:
        """Run jobs until the queue is empty; see ``Executor.run``.

        Raises:
            ConfigError: a job wants several processes.
        """
        while not queue.is_empty() and not stop:
            job = queue.next()
            if job is None:
                continue
            self.check([job])
            if self._launched is None:
                world = join_world(cpus=job.threads, gpus=job.gpus > 0)
            else:
                world = self._launched.join(job.threads)
            host = TrialRunner(world, capture=False, watcher=self._watcher)
            try:
                self._run(host, job, queue, stop)
            except TrialInterruptedError:
                stop.request(KeyboardInterrupt())
            finally:
                host.close()
            if not stop:
                queue.ended(job)
        if stop.reason is not None:
            raise stop.reason

    def _run(self, host: TrialRunner, job: Job, queue: Queue, stop: StopRequest) -> None:
        host.start(job)
        if host.world.size > 1 and not _prepared_together(host):
            return
        while not stop:
            if host.step():
                return
            if host.record is not None and queue.epoch(job, host.record):
                host.abandon()
                return


def _prepared_together(host: TrialRunner) -> bool:
    """Let rank 0 write the start into the trial's record, which the others read; return whether the trial is to run."""
    while (ready := host.prepare()) is Readiness.WAIT:
        pass  # of the rest of a process that was just killed
    return not greatest_over_ranks([ready is Readiness.ENDED], host.world)[0]
