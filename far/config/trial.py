"""What a trial's configuration may say. Unknown keys and wrong types are errors; nothing is coerced.

``model``, ``data``, ``recipe``, ``init`` and ``seed`` are the trial's scientific identity (``far.config.identity``);
``run`` says how it is executed and changes no number.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny, model_validator

from far.architecture.config import FarConfig, HeadLayout, ModelConfig
from far.architecture.networks import NETWORKS
from far.config.data import DataConfig, DemoConfig, ViewsConfig
from far.config.recipe import AugmentConfig, RecipeConfig
from far.errors import ConfigError
from far.strict import Added, Fraction, NonNegative, Positive, Strict

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "DemoConfig",
    "FarConfig",
    "Fraction",
    "HeadLayout",
    "InitConfig",
    "ModelConfig",
    "NonNegative",
    "Positive",
    "RecipeConfig",
    "RunConfig",
    "Strict",
    "TrialConfig",
    "ViewsConfig",
]


HEADS = ("auto", "random")


class InitConfig(Strict):
    """Initial weights: a checkpoint of any known family, or none."""

    weights: str | None = None
    family: str | None = None
    """Checked against what the file's keys say; needed where they fit several families."""
    head: Annotated[Literal["auto", "random"], Added(HEADS[0])] = "auto"
    """The file's head where it fits the model's, or random as in the paper (Section 3.3)."""
    grid: Annotated[Annotated[list[Positive], Field(min_length=3, max_length=3)] | None, Added(None)] = None
    """Tokens along time, height and width of a learned position table, where the file does not say it."""


class RunConfig(Strict):
    """Execution: changes speed and place, never a number; but for networks with batch statistics, whose numbers depend
    on the videos that are in one step at once, over all devices (``statistics_over``).
    """

    devices: Positive = 1
    """GPUs per trial, or CPU processes where there is no GPU."""
    cpus: Positive = 1
    """CPU cores a device's process may use."""
    micro_batch: Positive | None = None
    """Videos on one device at once; the rest of the batch is accumulated. Default: the largest that fits."""
    workers: Annotated[int, Field(ge=0)] = 1
    keep_checkpoints: Positive = 1
    """Epochs whose checkpoints are kept, newest first."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None = None
    """Between two checkpoints in the middle of an epoch; default: none there, unless the process is asked to end."""
    compile: bool = False
    """Compile the network with ``torch.compile``."""
    activation_checkpointing: bool = False
    """Recompute each block's activations in the backward pass: less memory, about a third more time."""
    deterministic: bool = False
    """Take only operations that give the same bits each time, so that resuming is exact on a GPU too; slower there."""

    @property
    def statistics_over(self) -> int | None:
        """Videos over which a network has its batch statistics: those of one micro-batch, on all devices."""
        return None if self.micro_batch is None else self.micro_batch * self.devices


class TrialConfig(Strict):
    """One trial, completely."""

    model: SerializeAsAny[ModelConfig] = FarConfig()
    data: DataConfig = DataConfig()
    recipe: RecipeConfig = RecipeConfig()
    init: InitConfig = InitConfig()
    run: RunConfig = RunConfig()
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _network_goes_with_the_rest(self) -> TrialConfig:
        if self.init.weights is not None and not NETWORKS[self.model.network].starts_from_weights:
            possible = " or ".join(f"'{name}'" for name, network in NETWORKS.items() if network.starts_from_weights)
            raise ConfigError(f"only the network {possible} starts from a checkpoint", key="init.weights")
        return self
