"""A plug-in with an entry on each axis of training that `examples/` has none of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from far.architecture import counting
from far.architecture.networks import NETWORKS, ModelConfig, Network
from far.architecture.position_embeddings import EMBEDDINGS, PositionEmbedding
from far.architecture.sampling import SAMPLERS
from far.config.augmentation import AUGMENTATIONS
from far.config.optimization import OPTIMIZERS, SCHEDULES, Optimizer


@SAMPLERS.register("middle")
@dataclass(frozen=True)
class Middle:
    """The frames in the middle."""

    def train(self, n, size, rng):
        return self.view(n, size, 0, 1)

    def view(self, n, size, view, views):
        return np.clip(np.arange(size) + (n - size) // 2, 0, n - 1).astype(np.int64)

    def span(self, size):
        return size


@AUGMENTATIONS.register("darker")
def darker(clip, rng):
    return (clip.float() * float(rng.uniform(0.7, 1.0))).to(clip.dtype)


class Sgd(Optimizer):
    """Plain SGD."""

    builder = "torch.optim:SGD"

    def build(self, groups, recipe):
        import torch

        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9)


OPTIMIZERS.register("sgd")(Sgd())


@SCHEDULES.register("linear")
def linear(progress):
    return 1 - progress


EMBEDDINGS.register("zeros")(PositionEmbedding(lambda grid, width: np.zeros((int(np.prod(grid)), width))))


class PoolConfig(ModelConfig):
    """What a pool network has."""


class PoolNetwork(Network[PoolConfig]):
    """Mean of patches, then a linear layer."""

    section = PoolConfig
    builder = f"{__name__}:build"

    def count(self, model, classes):
        width, _, _ = model.sizes
        tokens = int(np.prod(model.grid))
        return counting.total(
            [counting.linear(tokens, 3 * int(np.prod(model.tubelet)), width), counting.linear(1, width, classes)]
        )


NETWORKS.register("pool")(PoolNetwork())


def build(model, classes, *, seed, activation_checkpointing=False):
    import torch
    from torch import nn

    from far.model.interface import VideoNetwork

    class Pool(VideoNetwork):
        def __init__(self):
            super().__init__()
            self.config = model
            self.embed = nn.Conv3d(3, model.sizes[0], tuple(model.tubelet), tuple(model.tubelet))
            self.block = nn.Identity()
            self.head = nn.Linear(model.sizes[0], classes)

        def forward(self, clips, keep=None):
            grid = self.embed(clips)
            tokens = self.block(grid.flatten(2).transpose(1, 2))
            return self.head(tokens.mean(1)).float()

        def layer_of(self, name):
            return 0 if name.startswith("embed") else model.sizes[1] + 1

        @property
        def last_block(self):
            return self.block

        def to_grid(self, tokens):
            return tokens.transpose(1, 2).unflatten(2, tuple(model.grid))

        def from_grid(self, volume, tokens):
            return volume.flatten(2).transpose(1, 2)

    if seed is None:
        with torch.device("meta"):
            return Pool()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Pool()
