"""Signals that ask a sweep to stop: Ctrl-C, SIGTERM, a closed terminal. Only the main thread may handle them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def restored() -> Iterator[None]:
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


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Close what is open in peace: a signal within these seconds is not heard."""
    with restored():
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)
        yield
