"""Numbers as people read them."""

from __future__ import annotations

MINUS = "−"


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """Write a number with a true minus sign; ``-0.0`` does not exist."""
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)
