"""The sign of life of a running trial: where it is within its epoch, about once per second."""

from __future__ import annotations

import time

from far.errors import CancelledError
from far.store.paths import TrialPaths
from far.store.records import write_heartbeat

INTERVAL = 1.0
"""Seconds between two writings of ``progress.json``."""


class Heartbeat:
    """Writes ``progress.json`` from time to time, and checks for a request to cancel the trial.

    Args:
        paths: where the trial's files lie.
        epochs: of the whole trial.
    """

    def __init__(self, paths: TrialPaths, epochs: int) -> None:
        self.paths, self.epochs = paths, epochs
        self._last = 0.0

    def beat(self, phase: str, epoch: int, done: int, total: int, loss: float | None = None) -> None:
        """Say how far the trial is, unless it was said a moment ago.

        Args:
            phase: what it does, e.g. ``train``.
            epoch: finished epochs.
            done: pieces of the phase that are done.
            total: pieces that the phase has.
            loss: mean of the epoch so far.

        Raises:
            CancelledError: the trial was cancelled.
        """
        now = time.monotonic()
        if now - self._last < INTERVAL and done != total:
            return
        self._last = now
        if self.paths.cancel.exists():
            raise CancelledError(f"trial {self.paths.key} was cancelled")
        write_heartbeat(self.paths, phase=phase, epoch=epoch, epochs=self.epochs, done=done, total=total, loss=loss)
