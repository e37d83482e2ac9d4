"""Numbers as people read them."""

from __future__ import annotations

from far.text import rounded

MINUS = "−"


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """Write a number, rounded half up, with a true minus sign; ``-0.0`` does not exist."""
    shown = rounded(value, decimals)
    if shown == 0:
        shown = abs(shown)
    return f"{shown:{'+' if signed and shown else ''}f}".replace("-", MINUS)
