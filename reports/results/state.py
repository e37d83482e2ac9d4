"""What a trial, a row or a cell is."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What a cell, a row or a trial is; anything but ``FINISHED`` is drawn visibly."""

    FINISHED = "finished"
    PARTIAL = "partial"
    RUNNING = "running"
    MISSING = "missing"
    FAILED = "failed"
    DIVERGED = "diverged"
    INCOMPARABLE = "not comparable"
    STALE = "stale"
    """By other code than is here (``reports.results.changed_code``)."""
    INVALID = "invalid"
    """Its numbers contradict each other (``reports.results.validity``)."""
    UNREPORTED = "n/a"
    """Literature reports no number here."""


LEFT_OUT = (State.STALE, State.INCOMPARABLE, State.INVALID, State.DIVERGED, State.FAILED, State.PARTIAL)
"""States of a trial that has ended and has no number, the first to be told first."""
