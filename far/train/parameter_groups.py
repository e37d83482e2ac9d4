"""Groups of parameters for the optimiser: weight-decay exclusions and layer-wise learning-rate decay."""

from __future__ import annotations

from typing import Any

from far.config.trial import ModelConfig, RecipeConfig
from far.model.interface import VideoNetwork


def parameter_groups(net: VideoNetwork, model: ModelConfig, recipe: RecipeConfig) -> list[dict[str, Any]]:
    """Return the optimiser's groups, each ``{name, params, weight_decay, lr_scale}``; every parameter is in
    one.

    One-dimensional parameters, biases and position tables are not decayed. A layer's rate is
    ``layer_decay ** (depth + 1 - layer)`` of the base rate; the interaction, which starts from random values
    inside pre-trained blocks, has ``new_module_lr`` instead (the paper is silent; the block's rate would be
    0.014 of the base in the first block at a decay of 0.7).

    Args:
        net: the network.
        model: its configuration.
        recipe: weight decay, layer decay, and the rate of new modules.
    """
    depth = model.sizes[1]
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        layer, new = net.layer_of(name), net.is_new(name)
        scale = recipe.new_module_lr if new else recipe.layer_decay ** (depth + 1 - layer)
        plain = parameter.ndim <= 1 or name.endswith((".bias", *net.not_decayed))
        key = f"{'new' if new else f'layer_{layer}'}_{'no_decay' if plain else 'decay'}"
        group = groups.setdefault(
            key,
            {
                "name": key,
                "params": [],
                "weight_decay": 0.0 if plain else recipe.weight_decay,
                "lr_scale": scale,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())
