"""A request to stop in the middle of an epoch, and its sources.

A batch system, a spot market and a person at a terminal ask by a signal; a cluster asks otherwise, and whoever hears of
it calls ``request``. The trial then finishes its optimiser step, writes a checkpoint, and ends with a
``TrialInterruptedError``: it is neither failed nor lost, and goes on from that step.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
IMPATIENT = 2.0
"""Seconds after which another Ctrl-C means: at once. A launcher repeats signals to its children."""


class Interruption:
    """Whether a process was asked to stop; safe to use from any thread.

    Attributes:
        reason: who asked, in words; empty without a request.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._listening = threading.Event()

    def __bool__(self) -> bool:
        return bool(self.reason)

    @property
    def is_heard(self) -> bool:
        """Whether there is unsaved work that will be saved."""
        return self._listening.is_set()

    def request(self, reason: str) -> None:
        """Ask for a stop; the first reason stays."""
        self.reason = self.reason or reason

    @contextlib.contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Within it, signals that ask for a stop are requests; what is ignored stays ignored.

        Only the main thread can handle signals; elsewhere ``request`` is all there is.
        """
        self._listening.set()
        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in SIGNALS}
        asked: list[float] = []

        def handle(number: int, frame: object) -> None:
            asked.append(time.monotonic())
            if number == signal.SIGINT and asked[-1] - asked[0] > IMPATIENT:
                raise KeyboardInterrupt
            self.request(signal.Signals(number).name)

        try:
            for number, handler in before.items():
                if handler not in (signal.SIG_IGN, None):
                    signal.signal(number, handle)
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)
            self._listening.clear()
