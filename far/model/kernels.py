"""How softmax attention is computed: one registry of kernels, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from far.registry import Registry

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps queries, keys and values, each (B, heads, S, d), to (B, heads, S, d)."""

KERNELS: Registry[Kernel] = Registry("attention kernel")


@KERNELS.register("fused")
def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's scaled_dot_product_attention: flash attention on the CPU and on CUDA."""
    return F.scaled_dot_product_attention(q, k, v)


@KERNELS.register("explicit")
def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Two matrix products with the scores between them in memory; the form that FLOPs counters see."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return torch.softmax(scores, dim=-1) @ v


def choose(q: Tensor) -> Kernel:
    """Return the kernel that is fastest for queries like these, by measurement (``docs/model.md``)."""
    return fused


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention with the kernel of choice."""
    return choose(q)(q, k, v)
