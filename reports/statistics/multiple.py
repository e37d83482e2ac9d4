"""Several comparisons in one table."""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values, in the order given (Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def stars(p: float) -> str:
    """``*`` below 0.05, ``**`` below 0.01, ``***`` below 0.001."""
    return "*" * sum(p < level for level in (0.05, 0.01, 0.001))
