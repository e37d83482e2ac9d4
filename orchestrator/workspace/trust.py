"""Whether the current command may run what others could have written: ``--trust``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_trusting: ContextVar[bool] = ContextVar("trusting", default=False)


@contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Within, obey whatever can make this machine run code, as ``--trust`` asks for."""
    token = _trusting.set(trust)
    try:
        yield
    finally:
        _trusting.reset(token)


def is_trusting() -> bool:
    """Return whether somebody has said so."""
    return _trusting.get()
