"""Dense reference forms: the same numbers as a variant's own module, written out plainly in raster order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from far.architecture.classifiers import GroupMeans
from far.architecture.interactions import Bottleneck
from far.architecture.networks import ModelConfig
from far.architecture.patterns import PATTERNS
from far.model.batch_norm import EPSILON
from far.model.permutation import Permutation

Values = Mapping[str, Tensor]
"""Parameters and buffers of a branch by name."""


def in_raster_order(spec: Any, x: Tensor, values: Values, model: ModelConfig) -> Tensor:
    """Compute a branch by its own module, built for tokens that are stored in raster order."""
    module = spec.build(model, Permutation(np.arange(x.shape[1]))).to(x.dtype).eval()
    for part in module.modules():
        if hasattr(part, "reset_buffers"):
            part.reset_buffers()
    result: Tensor = torch.func.functional_call(module, {name: values[name] for name in module.state_dict()}, (x,))
    return result


def group_means(spec: GroupMeans, x: Tensor, values: Values, model: ModelConfig) -> Tensor:
    """Average over each group by its labels."""
    labels = torch.tensor(PATTERNS[spec.pattern](model.grid).ravel())
    return torch.stack([x[:, labels == group].mean(1) for group in range(int(labels.max()) + 1)], dim=1)


def bottleneck(spec: Bottleneck, x: Tensor, values: Values, model: ModelConfig) -> Tensor:
    """Convolve one volume three times."""
    width, _, heads = model.sizes

    def normed(x: Tensor, name: str) -> Tensor:
        if not spec.needs_the_batch:
            return x
        scaled = (x.movedim(1, -1) - values[f"{name}.running_mean"]) / (values[f"{name}.running_var"] + EPSILON).sqrt()
        return (scaled * values[f"{name}.weight"] + values[f"{name}.bias"]).movedim(-1, 1)

    h = x if spec.needs_the_batch else F.layer_norm(x, (width,), values["norm.weight"], values["norm.bias"], 1e-6)
    h = h.transpose(1, 2).unflatten(2, model.grid).contiguous()
    for conv, groups in (("reduce", 1), ("conv", spec.groups(heads)), ("expand", 1)):
        weight, bias = values[f"{conv}.weight"], values.get(f"{conv}.bias")
        weight = weight if weight.ndim == 5 else weight[:, :, None, None, None]
        h = F.conv3d(h, weight, bias, padding=[k // 2 for k in weight.shape[2:]], groups=groups)
        h = normed(h, f"{conv}_norm")
        h = h if conv == "expand" else F.gelu(h)
    return h.flatten(2).transpose(1, 2)
