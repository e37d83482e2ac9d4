"""Layers that compute in float32 whatever type the network has: logits of bf16 have three digits, and classes tie."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PreciseLayerNorm(nn.LayerNorm):
    """A layer norm in float32 at least."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., D) of any floating type to (..., D), float32 or float64."""
        x, weight, bias = (_precise(each) for each in (input, self.weight, self.bias))
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


class PreciseLinear(nn.Linear):
    """A linear layer in float32 at least."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., D) of any floating type to (..., D'), float32 or float64."""
        return F.linear(*(_precise(each) for each in (input, self.weight, self.bias)))


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
