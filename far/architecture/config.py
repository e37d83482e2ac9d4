"""The model section: which network, its sizes, and FAR's axes of variation."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from far.architecture.backbones import BACKBONES
from far.architecture.classifiers import CLASSIFIERS
from far.architecture.head_split import split_heads
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.networks import NETWORKS
from far.architecture.position_embeddings import EMBEDDINGS
from far.errors import ConfigError
from far.strict import Added, Fraction, NonNegative, Positive, Strict, known

AUTO = "auto"
FAR = "far"
MOST_TOKENS = 1_000_000
"""Tokens of a clip; attention over so many is out of reach, and so is an array over them in the planner."""
HeadLayout = dict[str, Positive]
"""Shares of the heads by attention pattern, e.g. ``{global: 2, sparse-dense: 1}``; order is head order."""


class ModelConfig(Strict):
    """The network. Sizes left out come from the backbone; shares of heads become numbers of heads."""

    network: Annotated[str, Added(FAR)] = FAR
    """FAR, or another author's network as a baseline (``far.architecture.networks``)."""
    backbone: str = "small"
    width: Positive | None = None
    depth: Annotated[int, Field(ge=1, le=10_000)] | None = None
    heads: Positive | None = None
    mlp_ratio: Annotated[float, Field(gt=0, le=1000)] = 4.0
    clip: Annotated[list[Positive], Field(min_length=3, max_length=3)] = Field(default=[16, 224, 224])
    """Frames, height, width of one clip in pixels."""
    tubelet: Annotated[list[Positive], Field(min_length=3, max_length=3)] = Field(default=[2, 16, 16])
    """Frames, height, width of one token in pixels."""
    attention: HeadLayout | list[HeadLayout] = Field(
        default={"global": 1, "sparse-dense": 1},
        examples=[{"global": 2, "sparse-dense": 1}, [{"global": 1}, {"sparse-dense": 1}]],
    )
    """One head layout for all blocks, or a list that is tiled over the blocks."""
    interaction: str = "bottleneck"
    interaction_position: str = "before-attention"
    classifier: str = "group-mean"
    position_embedding: str = "auto"
    """VideoMAE's is one-dimensional over the flattened index; MVD's is separable; ST-MAE's is learned. ``auto``: that
    of the initial weights' family, VideoMAE's without any."""
    drop_path: Fraction = 0.0
    init_scale: NonNegative = 0.001
    """Factor on the head's initial weights (VideoMAE's ``init_scale``)."""

    @field_validator("network")
    @classmethod
    def _network(cls, value: str) -> str:
        return known(NETWORKS, value, "model.network")

    @field_validator("backbone")
    @classmethod
    def _backbone(cls, value: str) -> str:
        return known(BACKBONES, value, "model.backbone")

    @field_validator("interaction")
    @classmethod
    def _interaction(cls, value: str) -> str:
        return known(INTERACTIONS, value, "model.interaction")

    @field_validator("classifier")
    @classmethod
    def _classifier(cls, value: str) -> str:
        return known(CLASSIFIERS, value, "model.classifier")

    @field_validator("position_embedding")
    @classmethod
    def _position_embedding(cls, value: str) -> str:
        if value != AUTO and value not in EMBEDDINGS:
            raise ConfigError(
                f"unknown position embedding '{value}'",
                key="model.position_embedding",
                choices=[AUTO, *EMBEDDINGS],
                got=value,
            )
        return value

    @field_validator("interaction_position")
    @classmethod
    def _position(cls, value: str) -> str:
        return known(POSITIONS, value, "model.interaction_position")

    @model_validator(mode="before")
    @classmethod
    def _sizes_from_backbone(cls, values: Any) -> Any:
        name = values.get("backbone", "small") if isinstance(values, dict) else None
        if isinstance(name, str) and name in BACKBONES:
            size = BACKBONES[name]
            defaults = {"width": size.width, "depth": size.depth, "heads": size.heads}
            values = {**values, **{k: v for k, v in defaults.items() if values.get(k) is None}}
        return values

    @model_validator(mode="before")
    @classmethod
    def _has_what_its_network_has(cls, values: Any) -> Any:
        name = values.get("network", FAR) if isinstance(values, dict) else None
        absent = NETWORKS[name].absent if isinstance(name, str) and name in NETWORKS else {}
        for key, allowed in absent.items():
            if key in values and (allowed is None or values[key] != allowed):
                raise ConfigError(
                    f"the network '{name}' has no such setting: leave it out",
                    key=f"model.{key}",
                    choices=[] if allowed is None else [allowed],
                )
        return values

    @model_serializer(mode="wrap")
    def _what_its_network_has(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key not in NETWORKS[self.network].absent}

    @model_validator(mode="after")
    def _possible(self) -> ModelConfig:
        width, heads = self.sizes[0], self.sizes[2]
        if width % heads:
            raise ConfigError(
                f"width {width} is not a multiple of {heads} heads",
                key="model.heads",
                choices=[n for n in range(1, 33) if width % n == 0],
            )
        if int(width * self.mlp_ratio) < 1:
            raise ConfigError(f"leaves the MLP of a width of {width} no channel", key="model.mlp_ratio")
        for name, pixels, patch in zip(("frames", "height", "width"), self.clip, self.tubelet, strict=True):
            if pixels % patch:
                below = pixels // patch * patch
                raise ConfigError(
                    f"{name} {pixels} is not a multiple of the token's {patch}",
                    key="model.clip",
                    choices=[n for n in (below, below + patch) if n],
                )
        tokens = math.prod(self.grid)
        if tokens > MOST_TOKENS:
            raise ConfigError(f"cut into {tokens} tokens: at most {MOST_TOKENS} can be planned with", key="model.clip")
        NETWORKS[self.network].check(self)
        return self

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Width, depth and heads, resolved."""
        assert self.width and self.depth and self.heads
        return self.width, self.depth, self.heads

    @property
    def needs_the_batch(self) -> bool:
        """Whether a clip's result in training depends on the clips beside it, so that the micro-batch counts."""
        spec = None if "interaction" in NETWORKS[self.network].absent else INTERACTIONS[self.interaction]
        return spec is not None and spec.needs_the_batch

    @property
    def embedding(self) -> str:
        """The position embedding, ``auto`` resolved as for a random start."""
        return "sinusoid-1d" if self.position_embedding == AUTO else self.position_embedding

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        t, h, w = (pixels // patch for pixels, patch in zip(self.clip, self.tubelet, strict=True))
        return t, h, w

    @property
    def layouts(self) -> list[dict[str, int]]:
        """The number of heads by pattern, one layout a block."""
        _, depth, heads = self.sizes
        tiles = self.attention if isinstance(self.attention, list) else [self.attention]
        return [split_heads(tiles[block % len(tiles)], heads) for block in range(depth)]
