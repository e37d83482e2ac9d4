"""The token-group interaction as a module: a bottleneck convolution over the grid (paper, Section 3.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from far.model.interactions import Bottleneck
from far.model.patterns import Grid
from far.model.permutation import Permutation


class Pointwise(nn.Linear):
    """A 1x1x1 convolution over tokens (..., channels), with a convolution's initial values."""


class BottleneckInteraction(nn.Module):
    """``expand(gelu(conv(gelu(reduce(norm(x))))))``; the residual is added by the block.

    Args:
        spec: the registry's entry.
        width: channels D of the tokens.
        heads: heads of the attention, which give the groups.
        grid: tokens along time, height and width.
        order: raster index of each stored token.
    """

    def __init__(self, spec: Bottleneck, width: int, heads: int, grid: Grid, order: Permutation) -> None:
        super().__init__()
        hidden = spec.hidden(width)
        t, h, w = (k // 2 for k in spec.kernel)
        self.grid = grid
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.reduce = Pointwise(width, hidden)
        self.conv = nn.Conv3d(hidden, hidden, spec.kernel, padding=(t, h, w), groups=spec.groups(heads))
        self.expand = Pointwise(hidden, width)
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Map stored tokens (B, N, D) to the branch's output (B, N, D)."""
        h = F.gelu(self.reduce(self.norm(x)))
        h = self.order.undo(h).unflatten(1, self.grid).movedim(-1, 1)  # B, D/r, T, H, W; channels last
        h = F.gelu(self.conv(h)).movedim(1, -1).flatten(1, 3)
        return self.expand(self.order(h))
