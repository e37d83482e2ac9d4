"""Counts of a network's parts: FLOPs, parameters and activations of a part come from one description.

FLOPs follow fvcore's convention: one is one multiply-accumulate; attention's two matrix products count; LayerNorm
counts 5 per element, BatchNorm in evaluation 2; biases, activations, softmax, residual additions and means count
nothing. Activations are the tensors that a layer keeps for its backward pass: mostly its input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NORM = 5
"""FLOPs of a LayerNorm per element."""
BATCH_NORM = 2
"""FLOPs of a BatchNorm with running statistics per element."""


@dataclass(frozen=True)
class Count:
    """FLOPs of one clip, trained values, and values of one clip that the backward pass needs."""

    flops: int = 0
    params: int = 0
    activations: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.flops + other.flops, self.params + other.params, self.activations + other.activations)

    def __mul__(self, times: int) -> Count:
        return Count(self.flops * times, self.params * times, self.activations * times)


def total(parts: Iterable[Count]) -> Count:
    """Add parts up."""
    return sum(parts, Count())


def values(number: int) -> Count:
    """Trained values that are only added: position tables, class tokens."""
    return Count(params=number)


def kept(number: int) -> Count:
    """Activations kept in addition to the layers' inputs: an activation function's input, a copy."""
    return Count(activations=number)


def norm(tokens: int, width: int) -> Count:
    """LayerNorm over ``tokens`` tokens."""
    return Count(NORM * tokens * width, 2 * width, tokens * width)


def batch_norm(tokens: int, width: int) -> Count:
    """BatchNorm over ``tokens`` tokens; its running statistics are not trained."""
    return Count(BATCH_NORM * tokens * width, 2 * width, tokens * width)


def linear(tokens: int, inside: int, outside: int, *, biases: int | None = None) -> Count:
    """A linear layer, or a convolution whose stride is its kernel; ``biases``: other than one per output."""
    params = inside * outside + (outside if biases is None else biases)
    return Count(tokens * inside * outside, params, tokens * inside)


def convolution(tokens: int, channels: int, groups: int, kernel: Sequence[int], *, biases: int | None = None) -> Count:
    """A grouped convolution over the grid that keeps channels and size; ``biases``: other than one per channel."""
    weights = channels * (channels // groups) * math.prod(kernel)
    return Count(tokens * weights, weights + (channels if biases is None else biases), tokens * channels)


def products(channels: int, groups: Iterable[int], *, maps: int = 0) -> Count:
    """The two matrix products of attention within groups of tokens.

    Args:
        channels: of all heads together.
        groups: tokens of each group.
        maps: heads whose softmax is kept, where attention is not fused; fused attention keeps its inputs alone.
    """
    sizes = list(groups)
    squares = sum(size**2 for size in sizes)
    return Count(2 * channels * squares, activations=3 * channels * sum(sizes) + maps * squares)


def attention(tokens: int, width: int, groups: Iterable[int], *, biases: int, maps: int = 0) -> Count:
    """Queries, keys and values (with ``biases`` biases in total), attention within groups, and the projection."""
    qkv = linear(tokens, width, 3 * width, biases=biases)
    return qkv + products(width, groups, maps=maps) + linear(tokens, width, width)


def mlp(tokens: int, width: int, hidden: int) -> Count:
    """Two linear layers with an activation function between them."""
    return linear(tokens, width, hidden) + kept(tokens * hidden) + linear(tokens, hidden, width)


def encoder(tokens: int, width: int, depth: int, hidden: int, *, biases: int) -> Count:
    """A plain pre-norm encoder whose tokens all attend to each other."""
    block = norm(tokens, width) + attention(tokens, width, [tokens], biases=biases)
    return (block + norm(tokens, width) + mlp(tokens, width, hidden)) * depth
