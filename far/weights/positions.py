"""Position tables of a file, brought to the network's grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from far.architecture.patterns import Grid
from far.architecture.position_embeddings import EMBEDDINGS, Table

ROUNDING = 5e-3
"""What separates a stored computed table from the computation: at most the rounding of bf16."""
PIXELS = 224
"""Height and width of the frames that all ancestors train on, unless they say otherwise."""
TIMES = (1, 2, 4, 8, 16, 32, 64)
"""Tokens along time that tables are tried with."""


def separable(spatial: Tensor, temporal: Tensor) -> Tensor:
    """Return ST-MAE's table (1, T * S, D): the sum of a place's and a time's row, time-major."""
    return (temporal[:, :, None] + spatial[:, None]).flatten(1, 2)


def computed(table: Tensor) -> tuple[str, Grid | None] | None:
    """Return which computed embedding a stored table (1, N, D) holds, and its grid where it follows from the table.

    MVD's students and OmniMAE store what they compute; a table that was trained is none of these (None).
    """
    tokens, width = table.shape[1:]
    values = table[0].float()

    def same(compute: Callable[[Grid, int], Table], grid: Grid) -> bool:
        theirs = torch.from_numpy(compute(grid, width)).float()
        return bool((values[: len(theirs)] - theirs).abs().max() < ROUNDING)

    for name, embedding in EMBEDDINGS.items():
        # The first row is the same for all grids: what was trained ends here.
        if embedding.table is None or not EMBEDDINGS.is_possible(name, width) or not same(embedding.table, (1, 1, 1)):
            continue
        if embedding.over_the_index:
            if same(embedding.table, (1, 1, tokens)):
                return name, None  # the same for all grids of as many tokens
            continue
        if (grid := next((grid for grid in _grids(tokens) if same(embedding.table, grid)), None)) is not None:
            return name, grid
    return None


def _grids(tokens: int) -> list[Grid]:
    """Return the ways to lay out as many tokens, square frames first."""
    divisors = [n for n in range(1, tokens + 1) if tokens % n == 0]
    grids = [(t, h, tokens // t // h) for t in divisors for h in divisors if tokens // t % h == 0]
    return sorted(grids, key=lambda grid: abs(grid[1] - grid[2]))


def guessed(tokens: int, patch: Sequence[int], target: Grid) -> list[Grid]:
    """Return on which grids a table was trained that does not say it: one if there is little doubt, none or several.

    Tables of the model's own size are taken to have its grid. Else frames are square: of 224 pixels, as all ancestors
    train, or as many as the model has, as their scripts assume.

    Args:
        tokens: rows of the table.
        patch: frames, height and width of a token in pixels.
        target: the model's grid.
    """
    if tokens == math.prod(target):
        return [target]
    side = PIXELS // patch[1] if patch[1] == patch[2] else 0
    square = [(t, math.isqrt(tokens // t), math.isqrt(tokens // t)) for t in TIMES if tokens % t == 0]
    square = [grid for grid in square if math.prod(grid) == tokens]
    likely = [grid for grid in square if grid[1] == side or grid[0] == target[0]]
    return likely or square


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
