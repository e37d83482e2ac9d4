"""When a trial writes a checkpoint in the middle of an epoch, or stops there; all its processes at the same step."""

from __future__ import annotations

import enum
import time

from far.collectives import greatest_over_ranks
from far.distributed import World
from far.train.interruption import Interruption

LOOK = 2.0
"""Seconds between two exchanges of the processes of a trial about whether to stop; one process looks at every step."""
BEFORE_VALIDATION = 0.2
"""Share of ``run.checkpoint_minutes`` after which a finished epoch is worth a checkpoint before its validation."""


class Action(enum.Enum):
    """What to do between two optimiser steps."""

    GO = enum.auto()
    WRITE = enum.auto()
    STOP = enum.auto()


class Timetable:
    """Decides after each optimiser step what is due.

    Args:
        minutes: between two checkpoints; None: none in the middle of an epoch, unless a stop is requested.
        interruption: whether this process was asked to stop.
        world: this process's place; all processes ask after the same steps and get the same answers.
    """

    def __init__(self, minutes: float | None, interruption: Interruption, world: World) -> None:
        self._seconds = float("inf") if minutes is None else 60.0 * minutes
        self._interruption, self._world = interruption, world
        self._written = self._looked = time.monotonic()
        self._step = self._next = 0

    def begin(self, step: int) -> Action:
        """Return whether to stop after ``step`` steps of an epoch."""
        self._step = self._next = step
        self._looked = time.monotonic()
        stop, _ = greatest_over_ranks([bool(self._interruption), 0], self._world)
        self._next = step + 1
        return Action.STOP if stop else Action.GO

    def after(self, step: int) -> Action:
        """Return what is due after ``step`` steps of the epoch."""
        if step < self._next:
            return Action.GO
        now = time.monotonic()
        wait = 1
        if self._world.size > 1:
            pace = (now - self._looked) / max(1, step - self._step)  # seconds per step
            wait = max(1, int(min(LOOK / max(pace, 1e-6), 10_000)))
        main = self._world.is_main  # whose clock and pace count
        due = main and now - self._written >= self._seconds
        asked = [bool(self._interruption), due, wait if main else 0]
        stop, write, wait = greatest_over_ranks(asked, self._world)
        self._step, self._next, self._looked = step, step + wait, now
        return Action.STOP if stop else Action.WRITE if write else Action.GO

    def before_validation(self) -> bool:
        """Return whether the trained epoch is to be written before it is validated."""
        due = self._world.is_main and time.monotonic() - self._written >= BEFORE_VALIDATION * self._seconds
        return bool(greatest_over_ranks([due], self._world)[0])

    def wrote(self) -> None:
        """Take note that a checkpoint has just been written."""
        self._written = time.monotonic()
