"""Small networks and what tests ask of them after a round trip through a file."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from far.config.trial import InitConfig, ModelConfig
from far.model.vit import VideoTransformer, build
from far.weights import build_network

CLASSES = 5
WIDTH = 96
PLAIN = {
    "backbone": "tiny",
    "depth": 2,
    "init_scale": 1.0,
    "attention": {"global": 1},
    "interaction": "none",
    "classifier": "global-mean",
}
Make = Callable[..., VideoTransformer]


def model(clip: list[int], tubelet: tuple[int, int, int] = (2, 16, 16), embedding: str = "auto") -> ModelConfig:
    return ModelConfig.model_validate(
        {**PLAIN, "clip": clip, "tubelet": list(tubelet), "position_embedding": embedding}
    )


def random_net(config: ModelConfig, classes: int = CLASSES) -> VideoTransformer:
    """Return a network with every parameter far from its start, positions included."""
    net = build(config, classes, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return net.eval()


def difference(ours: Any, theirs: Any, clip: list[int]) -> float:
    """Return the largest difference of the logits, relative to the largest logit."""
    clips = torch.randn(2, 3, *clip, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine, other = ours(clips), theirs(clips)
    return float((mine - other).abs().max() / other.abs().max())


def read(path: Path, config: ModelConfig, **init: Any) -> VideoTransformer:
    net, _ = build_network(config, InitConfig(weights=str(path), **init), CLASSES, seed=0)
    return net.eval()


def args(**said: Any) -> argparse.Namespace:
    return argparse.Namespace(lr=1e-3, output_dir="out", **said)
