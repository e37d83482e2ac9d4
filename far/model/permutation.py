"""Reordering of tokens between storage and raster order, with a gather as its own gradient."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class _Gather(torch.autograd.Function):
    """``x[:, index]`` for a permutation: its gradient is the gather by the inverse, not a scatter-add."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, index: Tensor, inverse: Tensor
    ) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(1, index)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors  # type: ignore[attr-defined]
        return _Gather.apply(grads[0], inverse, index), None, None


class Permutation(nn.Module):
    """Between stored order and raster order (t, h, w); nothing is moved where they are the same.

    Args:
        order: the raster index of each stored token, shape (N,).
    """

    index: Tensor
    inverse: Tensor

    def __init__(self, order: NDArray[np.int64]) -> None:
        super().__init__()
        self.order = order
        self.identity = bool((order == np.arange(len(order))).all())
        self.register_buffer("index", torch.empty(len(order), dtype=torch.int64), persistent=False)
        self.register_buffer("inverse", torch.empty(len(order), dtype=torch.int64), persistent=False)

    def reset_buffers(self) -> None:
        """Fill the buffers, which a build on ``meta`` leaves empty."""
        self.index.copy_(torch.from_numpy(self.order))
        self.inverse.copy_(torch.from_numpy(np.argsort(self.order)))

    def stored(self, x: Tensor) -> Tensor:
        """Bring (B, N, ...) from raster order into stored order."""
        return x if self.identity else _Gather.apply(x, self.index, self.inverse)

    def raster(self, x: Tensor) -> Tensor:
        """Bring (B, N, ...) from stored order into raster order."""
        return x if self.identity else _Gather.apply(x, self.inverse, self.index)
