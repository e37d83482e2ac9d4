"""A pattern, an interaction and a classifier of my own, in one file beside my study."""

import math

import numpy as np
import torch
from torch import nn

from far.architecture import counting
from far.architecture.classifiers import CLASSIFIERS, Classifier
from far.architecture.interactions import INTERACTIONS, Interaction
from far.architecture.patterns import PATTERNS

STRIPES = 3


@PATTERNS.register("three-stripe")
def three_stripe(grid):
    """Label the tokens (T, H, W) by three upright stripes, each of which attends to itself."""
    return np.broadcast_to(np.arange(grid[2]) * min(STRIPES, grid[2]) // grid[2], grid).astype(np.int64)


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): channels are scaled by what the whole clip holds."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid())

    def forward(self, x):  # (B, N, D) to (B, N, D)
        return (x := self.norm(x)) * self.mix(x.mean(1, keepdim=True))


class SqueezeExcite(Interaction):
    def build(self, model, order):
        return Excite(model.sizes[0])

    def count(self, model):  # FLOPs and parameters, for the table's columns and for `farlab plan`
        width = model.sizes[0]
        return counting.norm(math.prod(model.grid), width) + counting.mlp(1, width, width // 4)


class MaxAndMeanPooling(nn.Module):
    def forward(self, x):  # (B, N, D) to (B, 2, D)
        return torch.stack([x.mean(1), x.amax(1)], dim=1)


class MaxAndMean(Classifier):
    """The mean and the maximum of the tokens side by side."""

    def features(self, model):
        return 2

    def build(self, model, order):
        return MaxAndMeanPooling()


INTERACTIONS.register("squeeze-excite")(SqueezeExcite())
CLASSIFIERS.register("max-and-mean")(MaxAndMean())
