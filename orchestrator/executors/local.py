"""The in-process executor: one trial after another, here. For debugging, and for tests that need no Ray."""

from __future__ import annotations

from collections.abc import Sequence

from far.errors import ConfigError
from orchestrator.executors.base import Job
from orchestrator.executors.host import TrialHost, write_failure


class LocalExecutor:
    """Runs each job in this process; a trial that fails leaves a failed result and the next one starts."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Run every job to its end; see ``Executor.run``.

        Raises:
            ConfigError: a job wants several processes.
        """
        from far.train.world import join_world

        for job in jobs:
            if job.devices != 1:
                raise ConfigError(f"the in-process executor has one process, not {job.devices}", key="run.devices")
        for job in jobs:
            host = TrialHost(join_world(cpus=job.cpus), capture=False)
            try:
                host.begin(job.directory, job.data_root)
                while not host.advance():
                    pass
            except Exception as error:
                write_failure(job.directory, error)
            finally:
                host.close()
