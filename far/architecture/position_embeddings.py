"""Position embeddings by family of ancestors: which table is added to the tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from far.architecture.patterns import Grid
from far.registry import Registry

Table = NDArray[np.float64]
"""Shape (T * H * W, D), tokens in raster order."""

EMBEDDINGS: Registry[Callable[[Grid, int], Table] | None] = Registry("position embedding")
"""None: a learned table, part of the state dict as ``pos_embed``."""
EMBEDDINGS.register("learned")(None)


@EMBEDDINGS.register("sinusoid-1d")
def sinusoid_1d(grid: Grid, width: int) -> Table:
    """VideoMAE and OmniMAE: a sinusoid over the flattened index, sines and cosines interleaved."""
    position = np.arange(np.prod(grid), dtype=np.float64)[:, None]
    angle = position / np.power(10000.0, 2 * (np.arange(width) // 2) / width)
    table = np.empty_like(angle)
    table[:, 0::2] = np.sin(angle[:, 0::2])
    table[:, 1::2] = np.cos(angle[:, 1::2])
    return table


def _sincos(position: NDArray[np.int64], width: int) -> Table:
    """Sines, then cosines, of ``position / 10000^(2j/width)``, side by side."""
    omega = 10000.0 ** -(np.arange(width // 2) / (width / 2))
    angle = position.astype(np.float64)[:, None] * omega
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


@EMBEDDINGS.register("sincos-3d")
def sincos_3d(grid: Grid, width: int) -> Table:
    """MVD: separable; a quarter of the width for time, three eighths for the column, the rest for the row."""
    t, h, w = (axis.ravel() for axis in np.indices(grid))
    time, space = width // 4, width // 4 * 3 // 2
    return np.concatenate([_sincos(t, time), _sincos(w, space), _sincos(h, space)], axis=1)
