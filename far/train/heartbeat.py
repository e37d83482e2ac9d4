"""The sign of life of a running trial: where it is within its epoch, about once per second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from far.errors import CancelledError
from far.store.attempts import Clips
from far.store.paths import TrialPaths
from far.store.records import write_heartbeat

INTERVAL = 1.0
"""Seconds between two writings of ``progress.json``."""


class KeptWarnings(logging.Handler):
    """Keeps each warning of this process, for a sweep that does not see what it prints.

    Attributes:
        texts: what it has warned of, in order.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning; where no other handler does so, print it as Python would without this one."""
        text = record.getMessage()
        if text not in self.texts:
            self.texts.append(text)
        if not logging.root.handlers and logging.lastResort is not None:
            logging.lastResort.handle(record)


KEPT = KeptWarnings()
"""Of this process; empty unless it is a handler of the logger ``far``."""


class Heartbeat:
    """Writes ``progress.json`` from time to time, and checks for a request to cancel the trial.

    Args:
        paths: where the trial's files lie.
        epochs: of the whole trial.
        clips: called for how many clips this process has been delivered so far, and how many it had decoded.
    """

    def __init__(self, paths: TrialPaths, epochs: int, clips: Callable[[], Clips | None] = lambda: None) -> None:
        self.paths, self.epochs, self.clips = paths, epochs, clips
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
        place = {"phase": phase, "epoch": epoch, "epochs": self.epochs, "done": done, "total": total}
        write_heartbeat(self.paths, **place, loss=loss, clips=self.clips(), warnings=KEPT.texts)
