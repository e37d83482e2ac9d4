"""Attention head by head, some queries at a time, so that the scores stay in the cache and are never kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from far.model.linear import fast_fp32, product

SCORES = 300 * 1024
"""Scores at once: 1.2 MiB in fp32, about a core's second-level cache (196 queries of 1,568 keys, 392 of 784)."""


def _rows(tokens: int) -> list[slice]:
    """Return the queries that are taken at once."""
    step = max(32, SCORES // tokens)
    return [slice(start, start + step) for start in range(0, tokens, step)]


def _times_transposed(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b.T``, by oneDNN where that is faster."""
    return product(a, b) if fast_fp32(a) else a @ b.t()


class BlockedAttention(torch.autograd.Function):
    """Softmax attention of queries, keys and values, each (heads, S, d) and contiguous."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (heads, S, d)."""
        q = q * q.shape[-1] ** -0.5
        out = torch.empty_like(q)
        for head in range(len(q)):
            values = v[head].t().contiguous()
            for rows in _rows(q.shape[1]):
                scores = torch.softmax(_times_transposed(q[head, rows], k[head]), dim=-1)
                out[head, rows] = _times_transposed(scores, values)
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of queries, keys and values."""
        q, k, v, out = ctx.saved_tensors
        grad = grad.contiguous()
        delta = (grad.float() * out.float()).sum(-1, keepdim=True).to(grad.dtype)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for head in range(len(q)):
            keys = k[head].t().contiguous()
            for rows in _rows(q.shape[1]):
                scores = torch.softmax(_times_transposed(q[head, rows], k[head]), dim=-1)
                dv[head].addmm_(scores.t(), grad[head, rows])
                slope = _times_transposed(grad[head, rows], v[head]).sub_(delta[head, rows]).mul_(scores)
                dq[head, rows] = _times_transposed(slope, keys)
                dk[head].addmm_(slope.t(), q[head, rows])
        return dq.mul_(q.shape[-1] ** -0.5), dk, dv
