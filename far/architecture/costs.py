"""Costs of a configuration as exact integers, in fvcore's convention, without building the network.

One clip, one view; see ``far.architecture.counting`` for what counts.
"""

from __future__ import annotations

from far.architecture.networks import NETWORKS, ModelConfig


def flops(model: ModelConfig, classes: int) -> int:
    """Return the multiply-accumulates of one forward pass of one clip.

    Args:
        model: the validated model section.
        classes: number of classes.
    """
    return NETWORKS[model.network].count(model, classes).flops


def parameters(model: ModelConfig, classes: int) -> int:
    """Return the number of trained values of the network that this configuration builds."""
    return NETWORKS[model.network].count(model, classes).params


def activations(model: ModelConfig, classes: int) -> int:
    """Return the values of one clip that the backward pass needs, but for what is as small as a norm's statistics."""
    return NETWORKS[model.network].count(model, classes).activations
