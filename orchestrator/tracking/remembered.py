"""What a sweep remembers of its runs in MLflow, in ``mlflow-PROFILE.json`` of its study."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RememberedRun:
    """One trial's run."""

    run_id: str
    epochs: int
    """How many of its epochs were sent."""
    status: str | None = None
    unsent: str | None = None
    """Why not all of it was taken."""


@dataclass(frozen=True)
class Remembered:
    """The whole file; one that is damaged is as good as none: runs are found again by their tags."""

    runs: dict[str, RememberedRun]
    """By the trial's key."""
    uri: str | None = None
    experiment: str | None = None
    parent: str | None = None
