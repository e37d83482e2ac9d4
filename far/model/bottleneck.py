"""The token-group interaction as a module: a bottleneck convolution over the grid (paper, Section 3.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from far.model.interactions import Bottleneck
from far.model.patterns import Grid
from far.model.permutation import Permutation


class BottleneckInteraction(nn.Module):
    """``expand(gelu(conv(gelu(reduce(norm(x))))))``; the residual is added by the block.

    Args:
        spec: the registry's entry.
        width: channels D of the tokens.
        heads: heads of the attention, which give the groups.
        grid: tokens along time, height and width.
        to_grid: turns stored order into raster order and back.
    """

    def __init__(self, spec: Bottleneck, width: int, heads: int, grid: Grid, to_grid: Permutation) -> None:
        super().__init__()
        hidden = spec.hidden(width)
        padding = tuple(k // 2 for k in spec.kernel)
        self.grid = grid
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.reduce = nn.Linear(width, hidden)
        self.conv = nn.Conv3d(hidden, hidden, spec.kernel, padding=padding, groups=spec.groups(heads))
        self.expand = nn.Linear(hidden, width)
        self.to_grid = to_grid

    def forward(self, x: Tensor) -> Tensor:
        """Map stored tokens (B, N, D) to the branch's output (B, N, D)."""
        h = F.gelu(self.reduce(self.norm(x)))
        h = self.to_grid.raster(h).unflatten(1, self.grid).movedim(-1, 1)  # B, D/r, T, H, W; channels last
        h = F.gelu(self.conv(h)).movedim(1, -1).flatten(1, 3)
        return self.expand(self.to_grid.stored(h))
