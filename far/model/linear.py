"""Linear layers through the faster of two libraries on the CPU.

PyTorch hands fp32 products to MKL, which on AMD processors does not use AVX-512: oneDNN, which PyTorch carries for
its compiler, runs them at about twice the rate there (``docs/model.md``). Elsewhere this is ``F.linear``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@lru_cache
def onednn_is_faster() -> bool:
    """Whether this processor is one on which oneDNN's fp32 products were measured to be faster."""
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    about = Path("/proc/cpuinfo")
    is_amd = about.is_file() and "AuthenticAMD" in about.read_text(encoding="utf-8", errors="replace")
    return is_amd and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def fast_fp32(x: Tensor) -> bool:
    """Whether products with ``x`` go through oneDNN: fp32 on such a processor, eager, outside autocast."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


def direct(x: Tensor) -> bool:
    """Whether oneDNN is called directly, which also takes what follows: on the CPU, eager, without gradient."""
    return not torch.is_grad_enabled() and (
        fast_fp32(x)
        or (
            x.dtype == torch.bfloat16
            and x.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and not torch.is_autocast_enabled("cpu")
            and _has_onednn_bf16()
        )
    )


@lru_cache
def _has_onednn_bf16() -> bool:
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, *, activation: str = "none") -> Tensor:
    """Return ``a @ b.T + bias`` by oneDNN, both contiguous: (..., i) and (o, i) to (..., o)."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, activation, [], "none" if activation == "gelu" else "")


WORTH_TRANSPOSING = 96
"""Harmonic size io / (i + o) from which oneDNN's rate pays for the two transposed copies it needs."""


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a.T @ b``: (n, o) and (n, i) to (o, i)."""
    sizes = a.shape[1], b.shape[1]
    if sizes[0] * sizes[1] < WORTH_TRANSPOSING * sum(sizes):
        return a.t() @ b
    return product(a.t().contiguous(), b.t().contiguous())


class _Linear(torch.autograd.Function):
    """A linear layer whose forward and backward products are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        rows, inputs = grad.flatten(0, -2), x.flatten(0, -2)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t().contiguous()) if needs_x else None,
            _outer(rows, inputs) if needs_weight else None,
            rows.sum(0) if ctx.has_bias and needs_bias else None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (..., i) to (..., o) as ``F.linear`` does; its gradient cannot itself be differentiated on the fast path."""
    if weight.dtype != x.dtype:
        return F.linear(x, weight, bias)
    if direct(x):
        return product(x.contiguous(), weight.contiguous(), bias)
    return _Linear.apply(x, weight, bias) if fast_fp32(x) else F.linear(x, weight, bias)


class Linear(nn.Linear):
    """``nn.Linear`` through :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., i) to (..., o)."""
        return linear(input, self.weight, self.bias)


class LinearGelu(Linear):
    """A linear layer and the exact GELU; one pass over the memory where :func:`direct`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., i) to (..., o)."""
        if direct(input) and self.weight.dtype == input.dtype:
            return product(input.contiguous(), self.weight.contiguous(), self.bias, activation="gelu")
        return F.gelu(super().forward(input))
