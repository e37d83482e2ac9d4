"""The token-group interaction as a module: a bottleneck convolution over the grid (paper, Section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from far.architecture.interactions import Bottleneck
from far.architecture.patterns import Grid
from far.errors import ConfigError
from far.model.batch_norm import BatchNorm
from far.model.convolution import CUDNN, convolve
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


def check_convolutions(net: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Compare the device's convolution of one clip, forward and backward, with float64 on the CPU.

    Some releases of cuDNN and oneDNN compute 3-D convolutions wrongly and raise nothing
    (:mod:`far.model.convolution`); what is known of them is avoided, what is not known yet is found here, in
    milliseconds, before a trial trains.

    Args:
        net: the network; one without an interaction has nothing to check.
        device: where it will train.
        dtype: the type that it computes in.

    Raises:
        ConfigError: the results differ by more than rounding.
    """
    branch = next((module for module in net.modules() if isinstance(module, BottleneckInteraction)), None)
    if branch is not None:
        check(branch.conv, branch.grid, device, dtype)


def check(conv: GridConv, grid: Grid, device: torch.device, dtype: torch.dtype) -> None:
    """See :func:`check_convolutions`, for one convolution over grids of this size."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, *grid, conv.in_channels, generator=rng).to(dtype)
    weight = torch.randn(conv.out_channels, conv.in_channels // conv.groups, *conv.kernel_size, generator=rng).to(dtype)
    upstream = torch.randn(1, *grid, conv.out_channels, generator=rng).to(dtype)

    def computed(at: torch.device, to: torch.dtype) -> list[Tensor]:
        own, weights = (each.to(at, to).requires_grad_() for each in (x, weight))
        with torch.enable_grad():
            y = convolve(own, weights, None, conv.groups)
            pulled = (y * upstream.to(at, to)).sum()  # given as `grad_outputs`, it would import sympy, 0.3 s
            return [y.detach(), *torch.autograd.grad(pulled, (own, weights))]

    exact, found = computed(torch.device("cpu"), torch.float64), computed(device, dtype)
    worst = max(float((b.cpu().double() - a).norm() / a.norm()) for a, b in zip(exact, found, strict=True))
    tolerance = max(2 * torch.finfo(dtype).eps, 1e-3)  # TF32, where a user has allowed it, is right to 3e-4
    if not worst <= tolerance:
        raise ConfigError(
            f"3-D convolutions in {str(dtype).removeprefix('torch.')} are wrong on this device (relative error "
            f"{worst:.1g}, at most {tolerance:.1g} is rounding): torch {torch.__version__}, CUDA {torch.version.cuda}, "
            f"cuDNN {CUDNN}. Install a torch with another cuDNN, or set recipe.precision",
            key="recipe.precision",
        )
