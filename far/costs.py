"""Costs of a configuration as exact integers, in fvcore's convention, without building the network.

One FLOP is one multiply-accumulate; attention's two matrix products count; LayerNorm counts 5 per element;
biases, activations, softmax, residual additions and means count nothing. One clip, one view.
"""

from __future__ import annotations

import math

from far.config.schema import ModelConfig
from far.model.classifiers import CLASSIFIERS
from far.model.interactions import INTERACTIONS
from far.model.layout import group_sizes
from far.model.position import EMBEDDINGS

NORM = 5
"""FLOPs of a LayerNorm per element."""


def flops(model: ModelConfig, classes: int) -> int:
    """Return the multiply-accumulates of one forward pass of one clip.

    Args:
        model: the validated model section.
        classes: number of classes.
    """
    width, depth, heads = model.sizes
    tokens = math.prod(model.grid)
    hidden = int(width * model.mlp_ratio)
    block = 4 * tokens * width**2 + 2 * tokens * width * hidden + 2 * NORM * tokens * width
    attention = sum(
        2 * (width // heads) * n * int((group_sizes(name, model.grid) ** 2).sum())
        for layout in model.layouts
        for name, n in layout.items()
    )
    pooled = len(group_sizes(CLASSIFIERS[model.classifier], model.grid)) * width
    patches = tokens * width * 3 * math.prod(model.tubelet)
    return patches + depth * (block + _interaction_flops(model)) + attention + pooled * (NORM + classes)


def _interaction_flops(model: ModelConfig) -> int:
    spec = INTERACTIONS[model.interaction]
    if spec is None:
        return 0
    width, _, heads = model.sizes
    hidden = spec.hidden(width)
    convolution = hidden * (hidden // spec.groups(heads)) * math.prod(spec.kernel)
    return math.prod(model.grid) * (NORM * width + 2 * width * hidden + convolution)


def parameters(model: ModelConfig, classes: int) -> int:
    """Return the number of trained values of the network that this configuration builds."""
    width, depth, _ = model.sizes
    hidden = int(width * model.mlp_ratio)
    norm = 2 * width
    block = 3 * width**2 + 2 * width + width**2 + width + 2 * width * hidden + hidden + width + 2 * norm
    embedding = width * 3 * math.prod(model.tubelet) + width
    if EMBEDDINGS[model.embedding] is None:
        embedding += math.prod(model.grid) * width
    pooled = len(group_sizes(CLASSIFIERS[model.classifier], model.grid)) * width
    return embedding + depth * (block + _interaction_parameters(model)) + norm + (pooled + 1) * classes


def _interaction_parameters(model: ModelConfig) -> int:
    spec = INTERACTIONS[model.interaction]
    if spec is None:
        return 0
    width, _, heads = model.sizes
    hidden = spec.hidden(width)
    convolution = hidden * (hidden // spec.groups(heads)) * math.prod(spec.kernel)
    return 2 * width + 2 * width * hidden + convolution + hidden + hidden + width
