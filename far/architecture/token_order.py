"""The order in which tokens are stored, chosen so that the groups of nested patterns are slices.

A pattern labels the tokens of the grid (``far.architecture.patterns``). Sorting the tokens by the coarsest labels
first makes the groups of nested partitions contiguous all at once (global > sparse-dense > temporal), so that
grouped attention needs reshapes only. Groups of one size that follow each other form a run and are computed
together. A pattern that does not nest with the others is gathered where it is used. Torch-free: costs and
pictures use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from far.architecture.patterns import PATTERNS, Grid

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """``groups`` groups of ``size`` tokens each, stored one after the other from token ``start`` on."""

    start: int
    groups: int
    size: int

    @property
    def stop(self) -> int:
        """The first token after the segment."""
        return self.start + self.groups * self.size


@dataclass(frozen=True)
class Grouping:
    """How one pattern's groups are found among the stored tokens.

    Attributes:
        segments: the groups, which together hold every token once.
        gather: stored index of each token that the segments speak of, shape (N,); None: the tokens as they are
            stored.
    """

    segments: tuple[Segment, ...]
    gather: Indices | None = None


class TokenOrder(Protocol):
    """Moves tokens (B, N, ...) from raster order to stored order (``far.model.permutation`` does).

    Attributes:
        order: raster index of each stored token, shape (N,).
    """

    order: Indices

    def __call__(self, x: Any) -> Any:
        """Return tokens in raster order as they are stored."""

    def undo(self, x: Any) -> Any:
        """Return stored tokens in raster order."""


def group_sizes(pattern: str, grid: Grid) -> Indices:
    """Return the number of tokens of each group, shape (groups,)."""
    return np.bincount(PATTERNS[pattern](grid).ravel())


def token_order(patterns: Iterable[str], grid: Grid) -> Indices:
    """Return the raster index (t, h, w) of each stored token, shape (N,), for all these patterns together.

    Patterns are taken from the coarsest to the finest; one that does not refine those before it is left out.
    Within a finest group tokens keep their raster order.
    """
    finest = np.zeros(int(np.prod(grid)), dtype=np.int64)
    keys: list[Indices] = []
    for name in sorted(set(patterns), key=lambda name: (len(group_sizes(name, grid)), name)):
        labels = PATTERNS[name](grid).ravel()
        if _refines(labels, finest):
            keys += [-np.bincount(labels)[labels], labels]  # equal sizes side by side: they form one segment
            finest = labels
    return np.lexsort(keys[::-1]) if keys else np.arange(len(finest))


def grouping(pattern: str, grid: Grid, order: Indices) -> Grouping:
    """Return how the pattern's groups are found among tokens stored in this order."""
    labels = PATTERNS[pattern](grid).ravel()
    found = _segments(labels[order])
    if found is not None:
        return Grouping(found)
    own = token_order([pattern], grid)
    torn = _segments(labels[own])
    assert torn is not None
    return Grouping(torn, np.argsort(order)[own])


def _refines(fine: Indices, coarse: Indices) -> bool:
    """Whether every group of ``fine`` lies within one group of ``coarse``."""
    pairs = np.unique(np.stack([fine, coarse]), axis=1)
    return pairs.shape[1] == len(np.unique(fine))


def _segments(labels: Indices) -> tuple[Segment, ...] | None:
    """Return the segments of equal labels, groups of one size merged; None if a label comes back after a gap."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    if len(starts) != len(np.unique(labels)):
        return None
    found: list[Segment] = []
    for start, size in zip(starts.tolist(), np.diff(starts, append=len(labels)).tolist(), strict=True):
        if found and found[-1].size == size:
            found[-1] = Segment(found[-1].start, found[-1].groups + 1, size)
        else:
            found.append(Segment(start, 1, size))
    return tuple(found)
