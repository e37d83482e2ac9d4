"""A video classifier of transformers behind the interface of ours."""

from __future__ import annotations

import importlib
import re
from typing import Any

import torch
from torch import Tensor, nn

from far.architecture.networks import NETWORKS, ModelConfig
from far.architecture.transformers_networks import EXTRA, Baseline
from far.errors import ConfigError
from far.model.interface import VideoNetwork
from far.model.precise import PreciseLinear
from far.randomness import key_of

BLOCK = re.compile(r"\.layers?\.(\d+)\.")
EMBEDDING = ".embeddings."


class BaselineNetwork(VideoNetwork):
    """transformers' network, with its own initial values drawn from the trial's seed.

    Args:
        spec: which network.
        config: the validated model section.
        classes: number of classes.
        seed: the trial's seed; None: any.
        activation_checkpointing: recompute each block's activations in the backward pass.

    Raises:
        ConfigError: transformers is not installed.
    """

    not_decayed = ("cls_token", "position_embeddings", "time_embeddings")

    def __init__(
        self,
        spec: Baseline,
        config: ModelConfig,
        classes: int,
        *,
        seed: int | None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        settings = _transformers(f"{spec.prefix}Config", config)(**spec.settings(config), num_labels=classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key_of(seed or 0, "init", spec.prefix))
            self.net: Any = _transformers(f"{spec.prefix}ForVideoClassification", config)(settings)
        with torch.no_grad():
            self.net.classifier.weight.mul_(config.init_scale)
        self.net.classifier.__class__ = PreciseLinear  # the same parameters under the same names
        if activation_checkpointing:
            self.net.gradient_checkpointing_enable({"use_reentrant": False})

    def forward(self, clips: Tensor, keep: Tensor | None = None) -> Tensor:
        """See :meth:`VideoNetwork.forward`; the configuration allows no drop path."""
        assert keep is None
        logits: Tensor = self.net(pixel_values=clips.transpose(1, 2)).logits
        return logits

    def layer_of(self, name: str) -> int:
        """See :meth:`VideoNetwork.layer_of`."""
        block = BLOCK.search(name)
        if block is not None:
            return int(block[1]) + 1
        return 0 if EMBEDDING in name else self.config.sizes[1] + 1

    @property
    def last_block(self) -> nn.Module:
        """See :meth:`VideoNetwork.last_block`."""
        last = f".{self.config.sizes[1] - 1}"
        return next(m for name, m in self.net.named_modules() if name.endswith((f".layer{last}", f".layers{last}")))

    def to_grid(self, tokens: Tensor) -> Tensor:
        """See :meth:`VideoNetwork.to_grid`."""
        t, h, w = self.config.grid
        places = tokens[:, int(self.spec.class_token) :].transpose(1, 2)
        if self.spec.frames_last:
            return places.unflatten(2, (h, w, t)).permute(0, 1, 4, 2, 3)
        return places.unflatten(2, (t, h, w))

    def from_grid(self, volume: Tensor, tokens: Tensor) -> Tensor:
        """See :meth:`VideoNetwork.from_grid`."""
        places = (volume.permute(0, 1, 3, 4, 2) if self.spec.frames_last else volume).flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, : int(self.spec.class_token)], places], dim=1)


def _transformers(name: str, config: ModelConfig) -> Any:
    try:
        return getattr(importlib.import_module("transformers"), name)
    except ImportError as error:
        raise ConfigError(
            f"the network '{config.network}' is transformers': {EXTRA} ({error})", key="model.network"
        ) from None


def build(
    model: ModelConfig, classes: int, *, seed: int | None, activation_checkpointing: bool = False
) -> BaselineNetwork:
    """Build a network of transformers; see ``far.architecture.networks.Network.build``."""
    spec = NETWORKS[model.network]
    assert isinstance(spec, Baseline)
    with torch.device("cpu" if seed is not None else "meta"):
        return BaselineNetwork(spec, model, classes, seed=seed, activation_checkpointing=activation_checkpointing)
