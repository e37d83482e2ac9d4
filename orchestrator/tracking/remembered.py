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
    layout: str | None = None
    """The form of its contents (``contents.LAYOUT``)."""
    row: str | None = None
    """The row that it is named after; None until its parameters were sent."""
    varied: list[str] | None = None
    """The settings that are among its parameters as those in which rows differ."""
    input: bool = False
    """Whether its data set was sent."""
    start: int | None = None
    """When it began, in milliseconds since 1970."""
    end: int | None = None


@dataclass(frozen=True)
class Remembered:
    """The whole file; one that is damaged is as good as none: runs are found again by their tags."""

    runs: dict[str, RememberedRun]
    """By the trial's key."""
    uri: str | None = None
    experiment: str | None = None
    parent: str | None = None
    lockfile: str | None = None
    """Digest of the lock file that the sweep's run has."""
    summary: str | None = None
    """Digest of the results whose tables and figures the sweep's run has."""
