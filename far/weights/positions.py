"""Position tables of a file, brought to the network's grid."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from far.errors import WeightsError
from far.model.patterns import Grid


def separable(spatial: Tensor, temporal: Tensor) -> Tensor:
    """Return ST-MAE's table (1, T * S, D): the sum of a place's and a time's row, time-major."""
    return (temporal[:, :, None] + spatial[:, None]).flatten(1, 2)


def grid_of(tokens: int, times: int) -> Grid:
    """Return the grid of a table: square frames, as all ancestors have them.

    Raises:
        WeightsError: the tokens of a frame are no square.
    """
    side = math.isqrt(tokens // times)
    if times * side**2 != tokens:
        raise WeightsError(f"a position table of {tokens} tokens is not {times} square frames")
    return times, side, side


def resize(table: Tensor, source: Grid, target: Grid) -> Tensor:
    """Resample a table (1, N, D): bicubic in space, linear in time, fp32.

    Args:
        table: rows in raster order of ``source``.
        source: the grid it was learnt on.
        target: the grid of the network.
    """
    if source == target:
        return table
    x = table.float().reshape(source[0], source[1], source[2], -1).permute(0, 3, 1, 2)  # T, D, H, W
    if source[1:] != target[1:]:
        x = F.interpolate(x, size=target[1:], mode="bicubic", align_corners=False)
    if source[0] != target[0]:
        x = x.permute(2, 3, 1, 0).flatten(0, 1)  # H * W, D, T
        x = F.interpolate(x, size=target[0], mode="linear", align_corners=False)
        x = x.unflatten(0, target[1:]).permute(3, 2, 0, 1)
    return x.permute(0, 2, 3, 1).reshape(1, math.prod(target), -1)
