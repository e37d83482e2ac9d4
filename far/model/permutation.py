"""Reordering of tokens, with a gather as its own gradient instead of a scatter-add."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class _Gather(torch.autograd.Function):
    """``x[:, index]`` for a permutation, whose gradient is the gather by the inverse."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(1, index)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors  # type: ignore[attr-defined]
        return _Gather.apply(grads[0], inverse, index), None, None  # type: ignore[no-untyped-call]


class Permutation(nn.Module):
    """``x[:, order]`` and its inverse; nothing is moved where they are the same.

    Args:
        order: a permutation of the tokens, shape (N,).
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

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, ...) to ``x[:, order]``."""
        return x if self.identity else _Gather.apply(x, self.index, self.inverse)  # type: ignore[no-untyped-call]

    def undo(self, x: Tensor) -> Tensor:
        """Map ``x[:, order]`` back to ``x``."""
        return x if self.identity else _Gather.apply(x, self.inverse, self.index)  # type: ignore[no-untyped-call]
