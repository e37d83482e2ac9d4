"""BatchNorm over tokens, whose statistics are those of all processes of a trial.

Source: Ioffe and Szegedy 2015, "Batch Normalization", Algorithms 1 and 2; momentum and epsilon are PyTorch's defaults,
with which its ResNets are trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

EPSILON, MOMENTUM = 1e-5, 0.1


class BatchNorm(nn.Module):
    """Normalise channels (..., C): in training by the batch's mean and variance, in evaluation by the running ones.

    PyTorch's own layers have statistics over several processes on GPUs only, and running ones that halve with the
    weights' type: in bf16 a tenth of a small change is lost.

    Args:
        channels: C.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def reset_buffers(self) -> None:
        """Give the running statistics their first values, which a build on ``meta`` leaves empty."""
        self.running_mean.zero_()
        self.running_var.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C), of the same type."""
        precise = torch.promote_types(x.dtype, torch.float32)
        weight, bias = self.weight.to(precise), self.bias.to(precise)
        if not self.training:
            mean, var = self.running_mean.to(precise), self.running_var.to(precise)
            return F.batch_norm(x.flatten(0, -2), mean, var, weight, bias, eps=EPSILON).view_as(x)
        mean, var, count = _statistics(x.to(precise).flatten(0, -2))
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), MOMENTUM)
            unbiased = var * (count / (count - 1).clamp(min=1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), MOMENTUM)
        scale = weight * (var + EPSILON).rsqrt()
        return torch.addcmul(bias - mean * scale, x.to(precise), scale).to(x.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BatchNorm:
        """Move and convert as any module, but keep the running statistics from the types of 16 bits."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            after = getattr(self, name)
            if after.dtype in (torch.float16, torch.bfloat16):
                setattr(self, name, buffer.to(after.device))
        return self


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (C,), variance (C,) and number of rows, over the rows (R, C) of all processes."""
    var, mean = torch.var_mean(x, dim=0, correction=0)
    count = torch.full((1,), float(len(x)), dtype=x.dtype, device=x.device)
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return mean, var, count
    # Sums in double, where squares of means can be taken away without loss.
    rows = count.double()
    sums = torch.cat([rows * mean, rows * (var + mean.double().square()), rows])
    total: Tensor = _SumOverProcesses.apply(sums)  # type: ignore[no-untyped-call]
    (first, second), rows = total[:-1].chunk(2), total[-1:]
    mean = first / rows
    return mean.to(x.dtype), (second / rows - mean.square()).clamp(min=0).to(x.dtype), rows.to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of all processes' values; each process's loss depends on all of them, so gradients add up likewise."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Return the sum, the same on every process."""
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the sum of the gradients with respect to the sum."""
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total
