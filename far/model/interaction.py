"""The token-group interaction as a module: a bottleneck convolution over the grid (paper, Section 3.2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from far.architecture.interactions import Bottleneck
from far.architecture.patterns import Grid
from far.model.batch_norm import BatchNorm
from far.model.convolution import convolve
from far.model.permutation import Permutation


class Pointwise(nn.Linear):
    """A 1x1x1 convolution over tokens (..., channels), with a convolution's initial values."""

    like_convolution = True


class GridConv(nn.Conv3d):
    """A convolution over channels-last grids (B, T, H, W, C), in the form that suits the device."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, T, H, W, C) to (B, T, H, W, C')."""
        return convolve(input, self.weight, self.bias, self.groups)


class BottleneckInteraction(nn.Module):
    """Reduce, GELU, convolve over the grid, GELU, expand; the residual is added by the block.

    Normalised before, or after each of the three convolutions (:class:`far.architecture.interactions.Bottleneck`).

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
        before = spec.norm == "layer"
        self.grid = grid
        self.norm = nn.LayerNorm(width, eps=1e-6) if before else nn.Identity()
        self.reduce = Pointwise(width, hidden, bias=before)
        self.reduce_norm = nn.Identity() if before else BatchNorm(hidden)
        self.conv = GridConv(hidden, hidden, spec.kernel, groups=spec.groups(heads), bias=before)
        self.conv_norm = nn.Identity() if before else BatchNorm(hidden)
        self.expand = Pointwise(hidden, width, bias=before)
        self.expand_norm = nn.Identity() if before else BatchNorm(width)
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Map stored tokens (B, N, D) to the branch's output (B, N, D)."""
        h = F.gelu(self.reduce_norm(self.reduce(self.norm(x))))
        h = self.order.undo(h).unflatten(1, self.grid)  # B, T, H, W, D/r
        h = F.gelu(self.conv_norm(self.conv(h))).flatten(1, 3)
        return self.expand_norm(self.expand(self.order(h)))
