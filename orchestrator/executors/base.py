"""What an executor is: it takes jobs and returns when none is left to run; their outcome is in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """One trial to run. Everything else about it stands in its ``trial.json``.

    Attributes:
        directory: the trial's folder in the store, absolute.
        data_root: folder of data sets, absolute.
        devices: GPUs of the trial, or CPU processes where there is no GPU.
        cpus: CPU cores of each of these processes.
    """

    directory: Path
    data_root: Path
    devices: int
    cpus: int


class Executor(Protocol):
    """Runs jobs; each leaves a ``result.json``, whatever happens to it, unless the sweep is interrupted."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Run every job to its end.

        Raises:
            KeyboardInterrupt: the user asked to stop; nothing that this executor started is left running.
            FarError: no job can be run at all.
        """
