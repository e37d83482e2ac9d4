"""The interpreter's search for cyclic garbage, where it is in the way."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the search for cyclic garbage, in all threads; also a decorator.

    For a call that makes thousands of objects and no cycles: the search looks at all living objects again and again,
    which makes such a call grow faster than linearly. And where no finaliser may run.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
