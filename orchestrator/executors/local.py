"""The in-process executor: one trial after another, here. For debugging, and for tests that need no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from far.errors import ConfigError, TrialInterruptedError
from orchestrator.executors.base import Job, Queue, Stop
from orchestrator.executors.trial_runner import TrialHost


class LocalExecutor:
    """Runs each job in this process; a trial that fails leaves a failed result and the next one starts."""

    def opened(self, stop: Stop) -> AbstractContextManager[None]:
        """Return nothing to hold: this process is all there is."""
        return nullcontext()

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse jobs that want several processes; see ``Executor.check``."""
        for job in jobs:
            if job.devices != 1:
                raise ConfigError(f"the in-process executor has one process, not {job.devices}", key="run.devices")

    def waiting(self) -> dict[str, str]:
        """Return nothing: the one trial that runs waits for nobody."""
        return {}

    def run(self, queue: Queue, stop: Stop) -> None:
        """Run jobs until the queue is empty; see ``Executor.run``.

        Raises:
            ConfigError: a job wants several processes.
        """
        from far.distributed import join_world

        while not queue.is_empty() and not stop:
            job = queue.next()
            if job is None:
                continue
            self.check([job])
            host = TrialHost(join_world(cpus=job.threads, gpus=job.gpus > 0), capture=False)
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

    def _run(self, host: TrialHost, job: Job, queue: Queue, stop: Stop) -> None:
        host.start(job)
        while not stop:
            if host.step():
                return
            if host.record is not None and queue.epoch(job, host.record):
                host.abandon()
                return
