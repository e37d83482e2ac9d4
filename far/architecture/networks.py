"""What a kind of network has to say of itself before it is built: its section of the configuration, costs, builder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import Field, field_validator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from far.architecture.backbones import BACKBONES
from far.architecture.counting import Count
from far.architecture.position_embeddings import AUTO, DEFAULT, EMBEDDINGS
from far.errors import ConfigError
from far.registry import Registry, named
from far.strict import Added, Fraction, NonNegative, Positive, Strict, known

MOST_TOKENS = 1_000_000
"""Tokens of a clip; attention over more is out of reach, and so is an array over them in the planner."""


class ModelConfig(Strict):
    """What every network's section has. Sizes left out come from the backbone.

    A union by ``network`` that is open to more: validated as a ``ModelConfig``, a section becomes that of its network
    (:attr:`Network.section`).
    """

    network: Annotated[str, Added("far")] = "far"
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
    position_embedding: str = AUTO
    """VideoMAE's is one-dimensional over the flattened index; MVD's is separable; ST-MAE's is learned. ``auto``: that
    of the initial weights' family, VideoMAE's without any."""
    drop_path: Fraction = 0.0
    init_scale: NonNegative = 0.001
    """Factor on the head's initial weights (VideoMAE's ``init_scale``)."""

    @classmethod
    def members(cls) -> Sequence[type[Strict]]:
        """See :meth:`Strict.members`: every network's section, FAR's first."""
        return [network.section for network in NETWORKS.values()] if cls is ModelConfig else [cls]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> type[ModelConfig]:
        """See :meth:`Strict.of`."""
        name = values.get("network", "far")
        section: type[ModelConfig] = NETWORKS[name].section if cls is ModelConfig and name in NETWORKS else cls
        return section

    @model_validator(mode="wrap")
    @classmethod
    def _as_its_networks(cls, value: Any, handler: ModelWrapValidatorHandler[ModelConfig]) -> ModelConfig:
        if cls is not ModelConfig or not isinstance(value, dict):
            return handler(value)
        if not isinstance(name := value.get("network", "far"), str):
            return handler(value)
        known(NETWORKS, name, "model.network")
        section = cls.of(value)
        for key in value:
            if key not in section.model_fields and key in cls.fields():
                raise ConfigError(f"the network '{name}' has no such setting: leave it out", key=f"model.{key}")
        return section.model_validate(value)

    @field_validator("backbone")
    @classmethod
    def _backbone(cls, value: str) -> str:
        return known(BACKBONES, value, "model.backbone")

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

    @model_validator(mode="before")
    @classmethod
    def _sizes_from_backbone(cls, values: Any) -> Any:
        name = values.get("backbone", "small") if isinstance(values, dict) else None
        if isinstance(name, str) and name in BACKBONES:
            size = BACKBONES[name]
            defaults = {"width": size.width, "depth": size.depth, "heads": size.heads}
            values = {**values, **{k: v for k, v in defaults.items() if values.get(k) is None}}
        return values

    @model_validator(mode="after")
    def _possible(self) -> ModelConfig:
        width, _, heads = self.sizes
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

    def identified(self) -> dict[str, Any]:
        """Return what counts in a trial's identity; the backbone is only a name for sizes that count themselves."""
        return self.counted(exclude=["backbone"])

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Width, depth and heads, resolved."""
        assert self.width and self.depth and self.heads
        return self.width, self.depth, self.heads

    @property
    def needs_the_batch(self) -> bool:
        """Whether a clip's result in training depends on the rest of its micro-batch, which then counts."""
        return False

    @property
    def embedding(self) -> str:
        """The position embedding, ``auto`` resolved as for a random start."""
        return DEFAULT if self.position_embedding == AUTO else self.position_embedding

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        t, h, w = (pixels // patch for pixels, patch in zip(self.clip, self.tubelet, strict=True))
        return t, h, w


M = TypeVar("M", bound=ModelConfig)


class Network(ABC, Generic[M]):
    """A kind of network: which settings it has, what it costs, how it is built.

    Attributes:
        section: its settings.
        builder: ``"module:name"`` of what builds it, called as :meth:`build` is.
        starts_from_weights: whether it can start from a checkpoint (``far.weights``).
    """

    section: type[M]
    builder: ClassVar[str]
    starts_from_weights: ClassVar[bool] = False

    def check(self, model: M) -> None:
        """Check what only this kind of network asks of the model section.

        Raises:
            ConfigError: it is impossible.
        """

    @abstractmethod
    def count(self, model: M, classes: int) -> Count:
        """Return FLOPs of one clip and parameters, without building the network."""

    def build(self, model: M, classes: int, *, seed: int | None, activation_checkpointing: bool = False) -> Any:
        """Build a ``far.model.interface.VideoNetwork`` with random initial values, fp32 on the CPU.

        Args:
            model: the validated model section.
            classes: number of classes.
            seed: the trial's; None: without values, on torch's ``meta`` device, for names and shapes.
            activation_checkpointing: recompute each block's activations in the backward pass.

        Raises:
            ConfigError: a package that it needs is missing.
        """
        build = named(self.builder)
        return build(model, classes, seed=seed, activation_checkpointing=activation_checkpointing)


NETWORKS: Registry[Network[Any]] = Registry("network", "model.network")
