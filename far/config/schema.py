"""What a trial's configuration may say. Unknown keys and wrong types are errors; nothing is coerced.

``model``, ``data``, ``recipe``, ``init`` and ``seed`` are the trial's scientific identity (see ``far.identity``);
``run`` says how it is executed and changes no number.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from far.data.sampling import SAMPLERS
from far.errors import ConfigError
from far.model.backbones import BACKBONES
from far.model.classifiers import CLASSIFIERS
from far.model.interactions import INTERACTIONS, POSITIONS, Bottleneck
from far.model.patterns import PATTERNS
from far.model.position import EMBEDDINGS
from far.registry import Registry

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
Range = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]
AUTO = "auto"
HeadLayout = dict[str, Positive]
"""Shares of the heads by attention pattern, e.g. ``{global: 2, sparse-dense: 1}``; order is head order."""


class Strict(BaseModel):
    """A section of the configuration: strict types, no unknown keys, immutable once resolved."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True)


def _known(registry: Registry[Any], name: str, key: str) -> str:
    try:
        registry[name]
    except ConfigError as error:
        raise error.at(key=key) from None
    return name


class ModelConfig(Strict):
    """The network. Sizes left out come from the backbone; shares of heads become numbers of heads."""

    backbone: str = "small"
    width: Positive | None = None
    depth: Annotated[int, Field(ge=1, le=10_000)] | None = None
    heads: Positive | None = None
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    clip: Annotated[list[Positive], Field(min_length=3, max_length=3)] = [16, 224, 224]
    """Frames, height, width of one clip in pixels."""
    tubelet: Annotated[list[Positive], Field(min_length=3, max_length=3)] = [2, 16, 16]
    """Frames, height, width of one token in pixels."""
    attention: HeadLayout | list[HeadLayout] = {"global": 1, "sparse-dense": 1}
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

    @field_validator("backbone")
    @classmethod
    def _backbone(cls, value: str) -> str:
        return _known(BACKBONES, value, "model.backbone")

    @field_validator("interaction")
    @classmethod
    def _interaction(cls, value: str) -> str:
        return _known(INTERACTIONS, value, "model.interaction")

    @field_validator("classifier")
    @classmethod
    def _classifier(cls, value: str) -> str:
        return _known(CLASSIFIERS, value, "model.classifier")

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
        return _known(POSITIONS, value, "model.interaction_position")

    @model_validator(mode="before")
    @classmethod
    def _sizes_from_backbone(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("backbone", "small") in BACKBONES:
            size = BACKBONES[values.get("backbone", "small")]
            defaults = {"width": size.width, "depth": size.depth, "heads": size.heads}
            values = {**values, **{k: v for k, v in defaults.items() if values.get(k) is None}}
        return values

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
        bottleneck = INTERACTIONS[self.interaction]
        if bottleneck is not None:
            self._bottleneck_fits(bottleneck, width, heads)
        for name, pixels, patch in zip(("frames", "height", "width"), self.clip, self.tubelet, strict=True):
            if pixels % patch:
                below = pixels // patch * patch
                raise ConfigError(
                    f"{name} {pixels} is not a multiple of the token's {patch}",
                    key="model.clip",
                    choices=[n for n in (below, below + patch) if n],
                )
        if self.embedding == "sincos-3d" and width % 16:
            raise ConfigError(
                f"'sincos-3d' needs a width that 16 divides, not {width}",
                key="model.position_embedding",
                choices=[name for name in EMBEDDINGS if name != "sincos-3d"],
            )
        layouts = self.attention if isinstance(self.attention, list) else [self.attention]
        if not layouts:
            raise ConfigError("an empty list of head layouts", key="model.attention")
        for layout in layouts:
            split_heads(layout, heads)
        return self

    @staticmethod
    def _bottleneck_fits(spec: Bottleneck, width: int, heads: int) -> None:
        if width % spec.reduction:
            raise ConfigError(
                f"the interaction needs a width that {spec.reduction} divides, not {width}",
                key="model.width",
                choices=[width - width % spec.reduction, width + -width % spec.reduction],
            )
        hidden, groups = spec.hidden(width), spec.groups(heads)
        if hidden % groups:
            raise ConfigError(
                f"the interaction's {groups} groups do not divide its {hidden} channels",
                key="model.interaction",
                choices=[
                    name for name, each in INTERACTIONS.items() if each is None or not hidden % each.groups(heads)
                ],
            )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Width, depth and heads, resolved."""
        assert self.width and self.depth and self.heads
        return self.width, self.depth, self.heads

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


def split_heads(layout: HeadLayout, heads: int) -> dict[str, int]:
    """Turn shares into numbers of heads, e.g. ``{global: 1, sparse-dense: 1}`` of 6 into 3 and 3.

    Raises:
        ConfigError: a pattern is unknown, or the shares do not divide the heads exactly.
    """
    if not layout:
        raise ConfigError("an empty head layout", key="model.attention", choices=PATTERNS)
    for name in layout:
        _known(PATTERNS, name, "model.attention")
    total = sum(layout.values())
    if any(share * heads % total for share in layout.values()):
        ratio = ":".join(str(share) for share in layout.values())
        parts = (p for p in itertools.product(range(1, heads), repeat=len(layout)) if sum(p) == heads)
        possible = [":".join(map(str, p)) for p in itertools.islice(parts, 30)] if len(layout) <= heads else []
        raise ConfigError(
            f"the ratio {ratio} ({', '.join(layout)}) does not divide {heads} heads",
            key="model.attention",
            choices=possible,
            got=ratio,
        )
    return {name: share * heads // total for name, share in layout.items()}


class DemoConfig(Strict):
    """The generated data set: its size and what makes it hard (see ``far.data.demo``)."""

    train_clips: Positive = 800
    """Training videos; the classes take turns."""
    val_clips: Positive = 400
    """Validation videos, with digit images that training never shows."""
    size: Positive = 64
    """Height and width in pixels."""
    noise: Fraction = 0.1
    """Standard deviation of each frame's noise, as a share of the contrast between background and digit."""
    clutter: Annotated[int, Field(ge=0)] = 3
    """Still fragments of other digits in each video."""
    motion: Annotated[float, Field(gt=0)] = 10.0
    """Length of the motion's path in pixels."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the data set, not of the trials that use it."""


class ViewsConfig(Strict):
    """Views at test time: temporal clips x spatial crops; 2x3 for Something-Something V2, 5x3 for Kinetics-400."""

    clips: Positive = 1
    crops: Positive = 1


class DataConfig(Strict):
    """Which videos, and how clips are taken from them."""

    source: str = "demo"
    """``demo``, or the path of a manifest or of a data set that ``farlab data prepare`` has read."""
    classes: Positive = 10
    """Must be the data set's; it decides the size of the classifier before the data are there."""
    demo: DemoConfig = DemoConfig()
    """Used with the source ``demo`` only."""
    sampling: str = "segments-mvd"
    """``segments-mvd`` or ``segments-videomae`` over the whole video, or a ``dense`` window (``far.data.sampling``)."""
    stride: Positive = 4
    """Frames from one of a clip's frames to the next; ``dense`` only."""
    views: ViewsConfig = ViewsConfig()
    """Of the final test; validation between epochs uses one view."""
    flip: bool = False
    """Mirror half of the training clips; never where left and right are classes (Something-Something V2, the demo)."""
    mean: Channels = [0.485, 0.456, 0.406]
    """Subtracted from red, green and blue in [0, 1]; the default is ImageNet's, as the ancestors have it."""
    std: Channels = [0.229, 0.224, 0.225]
    """Divides red, green and blue."""

    @field_validator("sampling")
    @classmethod
    def _sampling(cls, value: str) -> str:
        return _known(SAMPLERS, value, "data.sampling")


class AugmentConfig(Strict):
    """Augmentation of training clips; all off by default. The paper's settings stand in the profiles."""

    randaug_ops: Annotated[int, Field(ge=0)] = 0
    """RandAugment operations a clip, with replacement, each with ``randaug_probability``; 0 switches it off."""
    randaug_magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0
    """Mean magnitude on the scale of 0 to 10; 9 is the paper's, 7 the ancestors' code's."""
    randaug_std: NonNegative = 0.5
    """Standard deviation of the magnitude."""
    randaug_probability: Fraction = 0.5
    """With which each drawn operation is applied."""
    crop: bool = False
    """Random resized crop; without it, the training clip is the centre crop of validation."""
    crop_scale: Range = [0.08, 1.0]
    """Share of the frame's area."""
    crop_ratio: Range = [0.75, 4 / 3]
    """Width over height, drawn uniformly in its logarithm."""
    erasing: Fraction = 0.0
    """Probability of random erasing: one box of noise, the same in all frames."""
    mixup: NonNegative = 0.0
    """Alpha of Mixup's beta distribution; 0 switches it off."""
    cutmix: NonNegative = 0.0
    """Alpha of CutMix's beta distribution; 0 switches it off."""
    mix_probability: Fraction = 1.0
    """Share of the groups that are mixed at all."""
    mix_switch: Fraction = 0.5
    """Share of CutMix where both are on."""
    mix_group: Annotated[int, Field(ge=2, multiple_of=2)] = 2
    """Neighbouring videos of the batch that share one draw; the ancestors' is the micro-batch of a device."""
    repeats: Positive = 1
    """Differently augmented clips of each video in a batch, from one decoding (repeated augmentation)."""

    @property
    def mixes(self) -> bool:
        """Whether clips are blended, so that targets are soft."""
        return self.mix_probability > 0 and (self.mixup > 0 or self.cutmix > 0)


class RecipeConfig(Strict):
    """How the model is trained (paper, Table 1)."""

    epochs: Positive = 40
    """Passes over the training split; with ``augment.repeats`` each video is still counted once."""
    batch_size: Positive = 384
    """Videos in one optimiser step over all devices and accumulation steps."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """At a batch of ``lr_reference_batch`` videos; scaled linearly with the batch."""
    lr_reference_batch: Positive = 256
    min_lr: NonNegative = 1e-6
    """Where the cosine ends; scaled with the batch like ``lr``."""
    warmup_epochs: NonNegative = 5
    """Epochs over which the rate rises linearly from 0."""
    weight_decay: NonNegative = 0.05
    """AdamW's; biases, norms and other one-dimensional parameters and position embeddings have none."""
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    """AdamW's momenta."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the rate from each block to the one before it; the head has the full rate."""
    new_module_lr: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the rate of randomly initialised modules inside blocks, instead of the block's layer decay."""
    label_smoothing: Fraction = 0.0
    """Share of the target that is spread over all classes; with mixing it is part of the soft targets."""
    augment: AugmentConfig = AugmentConfig()
    gradient_clipping: NonNegative = 0.0
    """Largest gradient norm; 0 switches clipping off."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """``auto``: bf16 where the device has it natively and is not a CPU, else fp32."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed's ZeRO stage; part of the identity because stages use different optimiser wrappers."""


class InitConfig(Strict):
    """Initial weights: a checkpoint of any known family, or none."""

    weights: str | None = None
    family: str | None = None
    """Checked against what the file's keys say, if given."""


class RunConfig(Strict):
    """Execution: changes speed and place, never a number."""

    devices: Positive = 1
    """GPUs a trial, or CPU processes where there is no GPU."""
    cpus: Positive = 1
    """CPU cores a device's process may use."""
    micro_batch: Positive | None = None
    """Videos on one device at once; the rest of the batch is accumulated. Default: the largest that fits."""
    workers: Annotated[int, Field(ge=0)] = 1
    keep_checkpoints: Positive = 1
    compile: bool = False
    """Compile the network with ``torch.compile``."""
    activation_checkpointing: bool = False
    """Recompute each block's activations in the backward pass: less memory, about a third more time."""


class TrialConfig(Strict):
    """One trial, completely."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    recipe: RecipeConfig = RecipeConfig()
    init: InitConfig = InitConfig()
    run: RunConfig = RunConfig()
    seed: Annotated[int, Field(ge=0)] = 0
