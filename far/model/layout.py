"""The order in which tokens are stored, chosen so that every group of every pattern is a slice.

A pattern labels the tokens of the grid (``far.model.patterns``). Sorting the tokens by the coarsest labels
first makes the groups of nested partitions contiguous all at once (global > sparse-dense > temporal), so that
grouped attention needs reshapes only. Groups of one size that follow each other form a run and are computed
together. Torch-free: the costs and the pictures use it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from far.model.patterns import PATTERNS, Grid

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """``groups`` groups of ``size`` tokens each, stored one after the other from token ``start`` on."""

    start: int
    groups: int
    size: int

    @property
    def stop(self) -> int:
        """The first token after the run."""
        return self.start + self.groups * self.size


def group_sizes(pattern: str, grid: Grid) -> NDArray[np.int64]:
    """Return the number of tokens of each group, shape (groups,)."""
    return np.bincount(PATTERNS[pattern](grid).ravel())


def token_order(patterns: Sequence[str], grid: Grid) -> NDArray[np.int64]:
    """Return the raster index (t, h, w) of each stored token, shape (N,), for all these patterns together.

    Within a finest group, tokens keep their raster order. One group of N tokens leaves the raster order as it
    is.
    """
    keys: list[Labels] = []
    for name in sorted(set(patterns), key=lambda name: len(group_sizes(name, grid))):
        labels = PATTERNS[name](grid).ravel()
        sizes = np.bincount(labels)
        keys += [-sizes[labels], labels]  # equal sizes side by side, so that they form one run
    return np.lexsort(keys[::-1]) if keys else np.arange(int(np.prod(grid)))


def runs(pattern: str, grid: Grid, order: NDArray[np.int64]) -> tuple[Run, ...] | None:
    """Return the runs that hold the pattern's groups in this order, or None if a group is torn apart."""
    labels = PATTERNS[pattern](grid).ravel()[order]
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    if len(starts) != len(np.unique(labels)):
        return None
    sizes = np.diff(starts, append=len(labels))
    found: list[Run] = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        if found and found[-1].size == size:
            found[-1] = Run(found[-1].start, found[-1].groups + 1, size)
        else:
            found.append(Run(start, 1, size))
    return tuple(found)
