"""Position embeddings by family of ancestors: which table is added to the tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from far.architecture.patterns import Grid
from far.errors import ConfigError
from far.registry import Registry

Table = NDArray[np.float64]
"""Shape (T * H * W, D), tokens in raster order."""


@dataclass(frozen=True)
class PositionEmbedding:
    """A table that is added to the embedded tokens.

    Attributes:
        table: computes it from the grid and the width D, or raises ``ConfigError`` at an impossible width; None: it is
            learned, part of the state dict as ``pos_embed``.
        over_the_index: whether a place's values follow from its index among all tokens, so that on another grid they
            belong to another place.
    """

    table: Callable[[Grid, int], Table] | None = None
    over_the_index: bool = False

    @property
    def is_learned(self) -> bool:
        """Whether the table is trained."""
        return self.table is None

    def check(self, width: int) -> None:
        """Compute the table of one token.

        Raises:
            ConfigError: there is none of this width.
        """
        if self.table is not None:
            self.table((1, 1, 1), width)


EMBEDDINGS: Registry[PositionEmbedding] = Registry("position embedding", "model.position_embedding")
AUTO = "auto"
"""That of the initial weights' family; without any, the default."""
DEFAULT = "sinusoid-1d"
LEARNED = "learned"


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


def sincos_3d(grid: Grid, width: int) -> Table:
    """MVD: separable; a quarter of the width for time, three eighths for the column, the rest for the row."""
    if width % 16:
        raise ConfigError(f"'sincos-3d' needs a width that 16 divides, not {width}")
    t, h, w = (axis.ravel() for axis in np.indices(grid))
    time, space = width // 4, width // 4 * 3 // 2
    return np.concatenate([_sincos(t, time), _sincos(w, space), _sincos(h, space)], axis=1)


EMBEDDINGS.register(LEARNED)(PositionEmbedding())
EMBEDDINGS.register(DEFAULT)(PositionEmbedding(sinusoid_1d, over_the_index=True))
EMBEDDINGS.register("sincos-3d")(PositionEmbedding(sincos_3d))
