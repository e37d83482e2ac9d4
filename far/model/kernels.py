"""How attention is computed: a registry of kernels that give the same numbers, and the choice among them.

The choice depends on device, type and shape alone, so that a resumed trial takes the same path. What it rests on was
measured; ``docs/model.md`` has the figures, ``benchmarks/model.py`` takes them again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from far.model.blocked import BlockedAttention
from far.model.linear import fast_fp32
from far.registry import Registry

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps queries, keys and values, each (B, heads, S, d), to (B, heads, S, d)."""

KERNELS: Registry[Kernel] = Registry("attention kernel")

PIECE = 6 * 2**20
"""Bytes of scores computed at once: larger ones leave the cache, and the system maps and zeroes them every time."""

KEPT = 256 * 2**20
"""Bytes of scores that one call may keep for the backward pass; beyond, they are computed again."""

LONG = 256
"""Tokens of a group from which on each head fills the machine by itself."""


@KERNELS.register("fused")
def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's scaled_dot_product_attention: flash attention on the CPU and on CUDA."""
    return F.scaled_dot_product_attention(q, k, v)


@KERNELS.register("explicit")
def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Two matrix products with the scores between them in memory, some heads at a time.

    On a CPU in bf16 the products run on the matrix units, which flash attention does not use. FLOPs counters see
    this form.
    """
    heads = q.shape[1]
    q, k, v = (x.flatten(0, 1) for x in (q * q.shape[-1] ** -0.5, k, v))
    at_once = max(1, PIECE // (q.shape[1] ** 2 * q.element_size()))
    parts = [
        torch.softmax(a @ b.transpose(1, 2), dim=-1) @ c
        for a, b, c in zip(q.split(at_once), k.split(at_once), v.split(at_once), strict=True)
    ]
    return (torch.cat(parts) if parts[1:] else parts[0]).unflatten(0, (-1, heads))


@KERNELS.register("blocked")
def blocked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Head by head and some queries at a time; the backward pass computes the scores again."""
    heads = q.shape[1]
    q, k, v = (x.flatten(0, 1).contiguous() for x in (q, k, v))
    return BlockedAttention.apply(q, k, v).unflatten(0, (-1, heads))


def choose(q: Tensor) -> Kernel:
    """Return the fastest kernel for queries like these, (B, heads, S, d)."""
    if q.device.type != "cpu":
        return fused
    batch, heads, tokens, _ = q.shape
    if q.dtype == torch.bfloat16:
        too_much = batch * heads * tokens**2 * q.element_size() > KEPT
        return blocked if too_much and tokens >= LONG and not torch.compiler.is_compiling() else explicit
    return blocked if tokens >= LONG and fast_fp32(q) else fused


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention with the kernel of choice."""
    return choose(q)(q, k, v)
