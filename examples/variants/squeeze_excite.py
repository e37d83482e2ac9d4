"""An interaction of another kind: squeeze and excitation (Hu et al. 2018) of all tokens of a clip."""

import math

from torch import nn

from far.architecture import counting
from far.architecture.interactions import INTERACTIONS, Interaction


class Excite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid())

    def forward(self, x):  # (B, N, D) to (B, N, D)
        return (x := self.norm(x)) * self.mix(x.mean(1, keepdim=True))


class SqueezeExcite(Interaction):
    def build(self, model, order):
        return Excite(model.sizes[0])

    def count(self, model):
        width = model.sizes[0]
        return counting.norm(math.prod(model.grid), width) + counting.mlp(1, width, width // 4)


INTERACTIONS.register("squeeze-excite")(SqueezeExcite())
