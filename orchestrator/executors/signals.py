"""Signals that ask a sweep to stop: Ctrl-C, SIGTERM, a closed terminal. Only the main thread may handle them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WAKE = signal.SIGURG
"""What a thread sends to the main thread to end what it waits for; ignored by everybody else, as a stop may be."""

AGAIN = 0.1
"""Seconds until a swallowed interrupt is repeated, by when what swallowed it has returned."""


def wake_main_thread() -> None:
    """Interrupt the main thread, even in a sweep that was started with Ctrl-C ignored, as in the background."""
    signal.pthread_kill(threading.main_thread().ident or 0, WAKE)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def interrupt_on_stops() -> None:
    """Let SIGTERM and a closed terminal interrupt this process as Ctrl-C does; what is ignored stays ignored."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _interrupt)


def interrupt_again() -> None:
    """Repeat an interrupt that a finaliser or a callback swallowed: Python lets neither of them raise.

    Nothing is repeated while other handlers are in place, which note the request before they raise.
    """
    number = next((number for number in STOPS if signal.getsignal(number) is _interrupt), None)
    if number is not None:
        again = threading.Timer(AGAIN, signal.pthread_kill, (threading.main_thread().ident, number))
        again.daemon = True
        again.start()


@contextlib.contextmanager
def handlers_restored() -> Iterator[None]:
    """Put the handlers back that stood at the beginning, whatever replaces them within."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stops() -> None:
    """Ignore the signals that ask for a stop, until handlers are installed again."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore SIGINT, SIGTERM and SIGHUP during clean-up."""
    with handlers_restored():
        ignore_stops()
        yield
