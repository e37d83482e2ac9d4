"""The recipe section: augmentation, optimiser and schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from far.architecture.interactions import INTERACTIONS
from far.config.augmentation import AUGMENTATIONS
from far.config.optimization import OPTIMIZERS, SCHEDULES
from far.strict import Added, Fraction, NonNegative, Positive, ReadBy, Strict, named_in


def _ascending(value: list[float]) -> list[float]:
    if value[0] > value[1]:
        raise ValueError(f"a range goes from its lower to its upper end: [{value[1]:g}, {value[0]:g}]")
    return value


Range = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2), AfterValidator(_ascending)]


class AugmentConfig(Strict):
    """Augmentation of training clips; all off by default. The paper's settings stand in the profiles."""

    randaug_ops: Annotated[int, Field(ge=0)] = 0
    """RandAugment operations per clip, with replacement, each with ``randaug_probability``; 0 switches it off."""
    randaug_magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0
    """Mean magnitude on the scale of 0 to 10; 9 is the paper's, 7 the ancestors' code's."""
    randaug_std: NonNegative = 0.5
    """Standard deviation of the magnitude."""
    randaug_probability: Fraction = 0.5
    """With which each drawn operation is applied."""
    randaug_resampling: Annotated[Literal["bicubic", "bilinear"], Added("bicubic")] = "bicubic"
    """How operations that move pixels read between them; bicubic as the paper, bilinear at a third of the time."""
    crop: bool = False
    """Random resized crop; without it, the training clip is the centre crop of validation."""
    crop_scale: Range = Field(default=[0.08, 1.0])
    """Share of the frame's area."""
    crop_ratio: Range = Field(default=[0.75, 4 / 3])
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
    repeat_frames: Annotated[Literal["shared", "own"], Added("own")] = "own"
    """Whether the clips of one video share their frames, as the ancestors' do, or each draws its own."""

    also: Annotated[list[Annotated[str, named_in(AUGMENTATIONS)]], Added([])] = Field(
        default=[], examples=[["my-augmentation"]]
    )
    """Further steps after crop and flip, in this order (``far.config.augmentation``)."""

    @property
    def cuts(self) -> int:
        """How many sets of frames are drawn of a video: one for all of its clips, or one for each."""
        return 1 if self.repeat_frames == "shared" else self.repeats

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
    """Where the schedule ends; scaled with the batch like ``lr``."""
    schedule: Annotated[str, named_in(SCHEDULES), Added("cosine")] = "cosine"
    """How the rate falls after the warm-up (``far.config.optimization``)."""
    warmup_epochs: NonNegative = 5
    """Epochs over which the rate rises linearly from 0."""
    weight_decay: NonNegative = 0.05
    """AdamW's; biases, norms and other one-dimensional parameters and position embeddings have none."""
    optimizer: Annotated[str, named_in(OPTIMIZERS), Added("adamw")] = "adamw"
    """Of ``far.config.optimization``."""
    betas: Annotated[
        list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2), ReadBy(OPTIMIZERS)
    ] = Field(default=[0.9, 0.999])
    """AdamW's momenta."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the rate from each block to the one before it; the head has the full rate."""
    new_module_lr: Annotated[float, Field(gt=0), ReadBy(INTERACTIONS)] = 1.0
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
