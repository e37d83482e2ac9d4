"""Other authors' networks, as transformers implements them: VideoMAE, TimeSformer, ViViT.

They share our sizes, recipe and data; what is FAR's alone (patterns, interaction, classifier) they do not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from far.architecture import counting
from far.architecture.counting import Count
from far.architecture.networks import NETWORKS, ModelConfig, Network
from far.architecture.position_embeddings import AUTO
from far.errors import ConfigError

EXTRA = "pip install 'farlab[compare]'"
"""What brings transformers."""

GELU_STEPS = 6
"""Values per input that ViViT's GELU keeps in addition to the input: transformers writes its formula out."""


class BaselineConfig(ModelConfig):
    """Their section. A profile may name for every row what they do not have, at the value that changes nothing."""

    position_embedding: Annotated[str, Field(exclude=True)] = AUTO
    drop_path: Annotated[float, Field(exclude=True)] = 0.0

    @field_validator("position_embedding", "drop_path")
    @classmethod
    def _not_theirs(cls, value: Any, field: ValidationInfo) -> Any:
        name = field.field_name or ""
        unset = cls.model_fields[name].default
        if value != unset:
            network = field.data.get("network")
            raise ConfigError(
                f"the network '{network}' has no such setting: leave it out", key=f"model.{name}", choices=[unset]
            )
        return value


@dataclass(frozen=True)
class Baseline(Network[BaselineConfig]):
    """A video classifier of transformers.

    Attributes:
        prefix: of the names of its configuration and model, e.g. ``VideoMAE``.
        class_token: whether a class token stands before the others.
        frames_last: whether tokens are stored place by place, each with all its frames, instead of frame by frame.
    """

    prefix: str
    class_token: bool = True
    frames_last: bool = False

    section = BaselineConfig
    builder = "far.model.transformers_network:build"

    def settings(self, model: ModelConfig) -> dict[str, Any]:
        """Return the settings of transformers' configuration, but for the classes."""
        width, depth, heads = model.sizes
        return {
            "image_size": list(model.clip[1:]),
            "num_frames": model.clip[0],
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "intermediate_size": int(width * model.mlp_ratio),
            "layer_norm_eps": 1e-6,  # the originals'
        }


class VideoMae(Baseline):
    """VideoMAE's fine-tuned network (NeurIPS 2022): a plain ViT over tubelets, the mean of the tokens classified."""

    def settings(self, model: ModelConfig) -> dict[str, Any]:
        """See :meth:`Baseline.settings`."""
        own = {"tubelet_size": model.tubelet[0], "patch_size": model.tubelet[1:]}
        return {**super().settings(model), **own, "use_mean_pooling": True}

    def count(self, model: ModelConfig, classes: int) -> Count:
        """See :meth:`Network.count`."""
        width, depth, _ = model.sizes
        tokens, hidden = math.prod(model.grid), int(width * model.mlp_ratio)
        embedding = counting.linear(tokens, 3 * math.prod(model.tubelet), width)
        encoder = counting.encoder(tokens, width, depth, hidden, biases=2 * width)  # keys have no bias
        return embedding + encoder + counting.norm(1, width) + counting.linear(1, width, classes)


class TimeSformer(Baseline):
    """TimeSformer (ICML 2021): in each block over time at each place, then over space in each frame."""

    def check(self, model: ModelConfig) -> None:
        """See :meth:`Network.check`."""
        frames, height, width = model.tubelet
        if frames != 1 or height != width:
            raise ConfigError(
                f"TimeSformer cuts single frames into squares, not tubelets of {model.tubelet}",
                key="model.tubelet",
                choices=[[1, height, height]],
            )
        if model.clip[1] != model.clip[2]:
            raise ConfigError(f"TimeSformer's frames are square, not {model.clip[1:]}", key="model.clip")

    def settings(self, model: ModelConfig) -> dict[str, Any]:
        """See :meth:`Baseline.settings`."""
        return {**super().settings(model), "image_size": model.clip[1], "patch_size": model.tubelet[1]}

    def count(self, model: ModelConfig, classes: int) -> Count:
        """See :meth:`Network.count`."""
        width, depth, heads = model.sizes
        frames, patches = model.grid[0], math.prod(model.grid[1:])
        tokens, framed = frames * patches, frames * (patches + 1)  # every frame attends with the class token
        over_time = counting.attention(tokens, width, [frames] * patches, biases=3 * width, maps=heads)
        over_space = counting.attention(framed, width, [patches + 1] * frames, biases=3 * width, maps=heads)
        block = counting.total(
            [
                counting.norm(tokens, width) + over_time + counting.linear(tokens, width, width),
                counting.norm(framed, width) + over_space,
                counting.norm(tokens + 1, width) + counting.mlp(tokens + 1, width, int(width * model.mlp_ratio)),
            ]
        )
        embedding = counting.linear(tokens, 3 * math.prod(model.tubelet), width)
        added = counting.values(width * (1 + patches + 1 + frames))  # class token, places, frames
        head = counting.norm(tokens + 1, width) + counting.linear(1, width, classes)
        return embedding + added + block * depth + head


class ViVit(Baseline):
    """ViViT (ICCV 2021), model 1, which transformers has: tubelets of all frames attend to each other."""

    def settings(self, model: ModelConfig) -> dict[str, Any]:
        """See :meth:`Baseline.settings`."""
        return {**super().settings(model), "tubelet_size": list(model.tubelet)}

    def count(self, model: ModelConfig, classes: int) -> Count:
        """See :meth:`Network.count`."""
        width, depth, _ = model.sizes
        tokens, hidden = math.prod(model.grid), int(width * model.mlp_ratio)
        embedding = counting.linear(tokens, 3 * math.prod(model.tubelet), width)
        added = counting.values(width * (1 + tokens + 1))  # class token, positions
        encoder = counting.encoder(tokens + 1, width, depth, hidden, biases=3 * width)
        written_out = counting.kept(GELU_STEPS * (tokens + 1) * hidden * depth)
        head = counting.norm(tokens + 1, width) + counting.linear(1, width, classes)
        return embedding + added + encoder + written_out + head


NETWORKS.register("videomae")(VideoMae("VideoMAE", class_token=False))
NETWORKS.register("timesformer")(TimeSformer("Timesformer", frames_last=True))
NETWORKS.register("vivit")(ViVit("Vivit"))
