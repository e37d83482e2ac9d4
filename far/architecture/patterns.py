"""Attention patterns: each a partition of the token grid into groups that attend among themselves.

From this one definition come the dense mask (tests), the grouped computation (speed), the density and the
attention FLOPs (tables) and the picture (the paper's Figure 2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from far.registry import Registry

Grid = tuple[int, int, int]
"""Tokens along (time, height, width)."""

Partition = Callable[[Grid], NDArray[np.int64]]
"""Maps a grid to group labels of shape (T, H, W), counted from 0 without gaps."""

PATTERNS: Registry[Partition] = Registry("attention pattern")


@PATTERNS.register("global")
def global_(grid: Grid) -> NDArray[np.int64]:
    """Every token attends to every token (paper, Figure 2a)."""
    return np.zeros(grid, dtype=np.int64)


@PATTERNS.register("sparse-dense")
def sparse_dense(grid: Grid) -> NDArray[np.int64]:
    """Two groups of tubes in a checkerboard: dense in time, sparse in space (paper, Eq. 5, Figure 2c)."""
    t, h, w = grid
    board = np.indices((h, w)).sum(axis=0) % 2
    return np.broadcast_to(board, (t, h, w)).astype(np.int64)


@PATTERNS.register("temporal")
def temporal(grid: Grid) -> NDArray[np.int64]:
    """One group per tube: a token attends to its own place in every frame (paper, Eq. 4, Figure 2b)."""
    t, h, w = grid
    return np.broadcast_to(np.arange(h * w).reshape(h, w), (t, h, w)).astype(np.int64)


@PATTERNS.register("spatial")
def spatial(grid: Grid) -> NDArray[np.int64]:
    """One group per frame: a token attends to its own frame only (not in the paper)."""
    return np.broadcast_to(np.arange(grid[0])[:, None, None], grid).astype(np.int64)
