"""The interpreter's search for cyclic garbage, and when it is not wanted."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_pauses = 0
_was_on = False


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Pause the search, in all threads: no finaliser runs within, and what is imported is not searched again and again,
    which takes a sixth of the time of large imports. Of pauses that overlap, in several threads, the last ends it.
    """
    global _pauses, _was_on
    with _lock:
        if not _pauses:
            _was_on = gc.isenabled()
        _pauses += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _was_on:
                gc.enable()
