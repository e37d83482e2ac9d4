"""Initial values, keyed by (seed, parameter name): rows that share a seed share the modules they share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from far.model.batch_norm import BatchNorm
from far.randomness import torch_rng

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _NormBase, BatchNorm)


def initialise(net: nn.Module, seed: int, init_scale: float = 1.0) -> None:
    """Fill every parameter and buffer of ``net`` in place, also after ``meta`` and ``to_empty``.

    Linear weights are normal with deviation 0.02, biases 0, norms 1 and 0, as VideoMAE does;
    convolutions (the patch embedding and the interaction) have PyTorch's default, which VideoMAE leaves
    untouched; learned positions are normal with deviation 0.02. The head is multiplied by ``init_scale``. A module
    with a method ``reset_buffers`` fills its buffers, and one with ``like_convolution`` set has a convolution's values.

    Args:
        net: the network; its parameters may be on any device and of any floating type.
        seed: the trial's seed.
        init_scale: factor on the head's weights.
    """
    for prefix, module in net.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            values = _values(module, name, parameter, torch_rng(seed, "init", full))
            with torch.no_grad():
                parameter.copy_(values * init_scale if prefix == "head" else values)
        reset = getattr(module, "reset_buffers", getattr(module, "reset_running_stats", None))
        if reset is not None:
            reset()
        elif any(True for _ in module.buffers(recurse=False)):
            raise TypeError(f"{type(module).__name__} has buffers, and no method reset_buffers() that fills them")


def _values(module: nn.Module, name: str, like: Tensor, rng: torch.Generator) -> Tensor:
    """Return the initial values of one parameter, fp32 on the CPU whatever it is itself."""
    values = torch.zeros(like.shape)
    if isinstance(module, _ConvNd) or getattr(module, "like_convolution", False):
        weight = module.get_parameter("weight")
        fan_in = math.prod(weight.shape[1:])
        return values.uniform_(-1, 1, generator=rng) / math.sqrt(fan_in)
    if isinstance(module, NORMS):
        return torch.ones_like(values) if name == "weight" else values
    if name == "weight" or name == "pos_embed":
        return values.normal_(0, 0.02, generator=rng)
    return values
