"""The work of a trial from its configuration alone: operations, optimiser steps, memory, disk."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from far.architecture import costs
from far.config import DataConfig, TrialConfig
from far.config.trial import ModelConfig
from far.train.engine import micro_batch

VIDEOS = {"ssv2": (168_913, 24_777), "k400": (240_000, 20_000)}
"""Training and validation videos of public data sets that are not here (paper, Section 4.1; SSv2's own counts)."""

Counts = Callable[[DataConfig], tuple[int, int] | None]
"""Maps what a configuration says about data to its training and validation videos, None if nobody knows."""


PROCESS = 600 * 2**20
"""Bytes that a process takes before it holds any tensor: the CUDA context, or on a CPU the imported libraries."""


@dataclass(frozen=True)
class Work:
    """What one trial takes.

    Attributes:
        steps: optimiser steps.
        training: operations of all steps (1 multiply-accumulate = 2), backward counted as twice the forward.
        evaluation: operations of the validation after every epoch and of the test on all views.
        memory: bytes on one device, by formula.
        disk: bytes that the finished trial keeps, by formula.
    """

    steps: int
    training: float
    evaluation: float
    memory: int
    disk: int

    @property
    def operations(self) -> float:
        """All of it."""
        return self.training + self.evaluation


def work(config: TrialConfig, videos: tuple[int, int], device: str) -> Work:
    """Return the work of a configuration.

    Args:
        config: the trial.
        videos: how many the training and the validation split have.
        device: ``gpu`` or ``cpu``; it decides the micro-batch.
    """
    train, validation = videos
    recipe, views = config.recipe, config.data.views
    classes = config.data.classes
    forward = 2.0 * _flops(config.model.model_dump_json(), classes)
    steps = recipe.epochs * (train // recipe.batch_size)
    tested = validation * (recipe.epochs + views.clips * views.crops)
    params = costs.parameters(config.model, classes)
    return Work(
        steps=steps,
        training=3.0 * forward * steps * recipe.batch_size * recipe.augment.repeats,
        evaluation=forward * tested,
        memory=_memory(config, params, device),
        disk=_disk(config, params, validation),
    )


@functools.cache
def _flops(model: str, classes: int) -> int:
    return costs.flops(ModelConfig.model_validate_json(model), classes)


def _memory(config: TrialConfig, params: int, device: str) -> int:
    """Weights, gradients and Adam's moments, plus what backward needs of every block.

    34 bytes a token, channel and block in 16-bit without the attention maps, which fused attention does not keep
    (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", Eq. 1).
    """
    width, depth, _ = config.model.sizes
    micro = micro_batch(config.recipe, config.run, config.run.devices, "cuda" if device == "gpu" else "cpu")
    bytes_a_value = 2 if device == "gpu" and config.recipe.precision != "fp32" else 4
    activations = 34 * bytes_a_value / 2 * math.prod(config.model.grid) * width * depth * micro
    activations *= config.recipe.augment.repeats
    return int(PROCESS + 18 * params + activations)


def _disk(config: TrialConfig, params: int, validation: int) -> int:
    """Checkpoints (32-bit weights and two moments, and one being written) and predictions."""
    checkpoints = 14 * params * (config.run.keep_checkpoints + 1)
    views = config.data.views.clips * config.data.views.crops
    return int(checkpoints + 4 * validation * config.data.classes * views)
