"""The work of a trial from its configuration alone, and how long a device takes for it.

FARLab's speed has not been published. What others have published of the same networks lies between two kinds of
pipeline (``TUNED``, ``IN_TURNS``), which bound an estimate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from far.architecture import costs
from far.config import DataConfig, TrialConfig
from far.config.trial import ModelConfig
from far.data.prefetch import loader_bytes
from far.train.engine import micro_batch
from orchestrator.estimate.devices import Target
from orchestrator.plan.plan import PlannedTrial

VIDEOS = {"ssv2": (168_913, 24_777), "k400": (240_000, 20_000)}
"""Training and validation videos of public data sets that are not here (paper, Section 4.1; SSv2's own counts)."""

Counts = Callable[[DataConfig], tuple[int, int] | None]
"""Maps what a configuration says about data to its training and validation videos, None if unknown."""


PROCESS = 600 * 2**20
"""Bytes that a process takes before it holds any tensor: the CUDA context, or on a CPU the imported libraries."""

PAPER_CLIP = 16 * 224 * 224
"""Pixels of the clips for which decoding times are known."""


@dataclass(frozen=True)
class Workload:
    """What one trial takes, over all its devices but for ``memory``.

    Attributes:
        steps: optimiser steps.
        blocks: blocks of the network that one device runs forward and backward, micro-batch by micro-batch.
        training: operations of all steps (1 multiply-accumulate = 2), backward counted as twice the forward.
        evaluation: operations of the validation after every epoch and of the test on all views.
        traffic: bytes of the activations of every forward pass that is followed by a backward pass.
        videos: decodings, each of as many pixels as the paper's clips (16 frames of 224 x 224).
        memory: bytes on one device, by formula.
        disk: bytes that the finished trial keeps, by formula.
        predictions: those of them that MLflow gets a copy of, once for every study.
        checkpoint: bytes of the one more checkpoint that there is while it is written.
    """

    steps: int
    blocks: float
    training: float
    evaluation: float
    traffic: float
    videos: float
    memory: int
    disk: int
    predictions: int
    checkpoint: int

    @property
    def operations(self) -> float:
        """All of it."""
        return self.training + self.evaluation


def workload_of(config: TrialConfig, videos: tuple[int, int], device: str, processes: int | None = None) -> Workload:
    """Return the work of a configuration.

    Args:
        config: the trial.
        videos: how many the training and the validation split have.
        device: ``gpu`` or ``cpu``; it decides the micro-batch.
        processes: that share the work; default: ``run.devices``.
    """
    train, validation = videos
    recipe, views, run = config.recipe, config.data.views, config.run
    classes, processes = config.data.classes, processes or run.devices
    flops, activations, params = _counts(config.model.model_dump_json(), classes)
    forward = 2.0 * flops
    steps = recipe.epochs * (train // recipe.batch_size)
    clips = steps * recipe.batch_size * recipe.augment.repeats
    micro = micro_batch(recipe, run, processes, "cuda" if device == "gpu" else "cpu")
    value = value_bytes(config, device)
    kept = 4 * validation * classes * views.clips * views.crops
    checkpoint = (12 + (value if value < 4 else 0)) * params
    return Workload(
        steps=steps,
        blocks=steps * recipe.batch_size / (micro * processes) * config.model.sizes[1],
        training=(4.0 if run.activation_checkpointing else 3.0) * forward * clips,
        evaluation=forward * validation * (recipe.epochs + views.clips * views.crops),
        traffic=clips * activations * value,
        videos=(steps * recipe.batch_size + validation * (recipe.epochs + 1))
        * math.prod(config.model.clip)
        / PAPER_CLIP,
        memory=_memory(config, params, activations, micro, device, processes),
        disk=checkpoint * run.keep_checkpoints + kept,
        predictions=kept,
        checkpoint=checkpoint,
    )


def value_bytes(config: TrialConfig, device: str) -> int:
    """Return the bytes of one value of the network's activations."""
    precision = config.recipe.precision
    return 4 if precision == "fp32" or (precision == "auto" and device == "cpu") else 2


def processes_of(trial: PlannedTrial) -> int:
    """Return how many processes share a trial's work: one per GPU, or as many as ``run.devices`` says."""
    gpus = trial.resources.gpu_number
    return max(1, int(gpus)) if gpus else trial.config.run.devices


@functools.cache
def _counts(model: str, classes: int) -> tuple[int, int, int]:
    section = ModelConfig.model_validate_json(model)
    return costs.flops(section, classes), costs.activations(section, classes), costs.parameters(section, classes)


def _memory(config: TrialConfig, params: int, activations: int, micro: int, device: str, processes: int) -> int:
    """Weights, gradients and optimiser, what the backward pass needs of a micro-batch, and the batches in readiness.

    In 16 bits DeepSpeed keeps weights and gradients in 2 bytes each, and master weights and AdamW's two moments in 4;
    ZeRO shares out the latter at stage 1, gradients too at 2, and weights too at 3.
    """
    recipe, run = config.recipe, config.run
    value, stage = value_bytes(config, device), recipe.zero_stage
    optimizer = 8 if value == 4 else 12
    states = value / (processes if stage >= 3 else 1) + value / (processes if stage >= 2 else 1)
    states += optimizer / (processes if stage >= 1 else 1)
    depth = config.model.sizes[1]
    if run.activation_checkpointing:  # each block's input, and one block as it is computed again
        activations = math.prod(config.model.grid) * config.model.sizes[0] * depth + activations // depth
    clips = micro * recipe.augment.repeats
    batch = clips * 3 * math.prod(config.model.clip) * value
    loading = loader_bytes(config, micro, value)
    return int(PROCESS + states * params + clips * activations * value + batch + loading)


STEP_SECONDS = 0.025
"""Overhead of an optimiser step in seconds: about 500 reads and 2,000 launches in DeepSpeed at ZeRO 0."""

BLOCK_SECONDS = 0.0015
"""What a block of a network takes forward and backward at least, however small: some 100 launches on a GPU."""


@dataclass(frozen=True)
class Pipeline:
    """How well a training program uses its hardware.

    Attributes:
        matrix: part of the stated peak that the network's products reach.
        passes: how often the activations that a forward pass keeps cross the device's memory, written and read, until
            the backward pass has ended.
        loading: core-seconds that the CPU spends on a video of the paper's clips.
        overlaps: whether loading goes on while the device computes.
    """

    matrix: float
    passes: float
    loading: float
    overlaps: bool


TUNED = Pipeline(matrix=0.7, passes=6, loading=0.05, overlaps=True)
"""Fused attention and nothing that waits, as the fastest published: V-SWIFT (github.com/deepglint/V-SWIFT), 65 % of an
H20's peak where nothing else limits it, and 0.05 core-seconds per video where decoding does (A100)."""

IN_TURNS = Pipeline(matrix=0.45, passes=12, loading=0.1, overlaps=False)
"""Elementwise operations each on its own, decoding and augmentation as slow again, and the device waits for them."""

ON_CPU = (
    Pipeline(matrix=0.7, passes=0, loading=0.05, overlaps=False),
    Pipeline(matrix=0.25, passes=0, loading=0.1, overlaps=False),
)
"""At best and at worst where the same cores load and train."""


@dataclass(frozen=True)
class Times:
    """Where a trial's seconds go.

    Attributes:
        device: the devices' own.
        loading: decoding and what else the CPU does for the device.
        stepping: overhead of the optimiser steps.
        overlaps: whether loading goes on meanwhile.
        share: part of the stated peak that the device reaches while it computes.
    """

    device: float
    loading: float
    stepping: float
    overlaps: bool
    share: float

    @property
    def total(self) -> float:
        """The trial's wall clock."""
        both = max(self.device, self.loading) if self.overlaps else self.device + self.loading
        return both + self.stepping


def times(
    workload: Workload, target: Target, pipeline: Pipeline, *, processes: int, cores: float, precision: str
) -> Times:
    """Return how long a trial takes.

    Args:
        workload: what it takes.
        target: the devices, whose peak is stated.
        pipeline: how well they are used.
        processes: that share it, each with a device of its own, or with its own cores on a CPU.
        cores: that load for each of them, or on a CPU also train.
        precision: ``recipe.precision``.
    """
    assert target.tflops is not None
    gpu = target.kind == "gpu"
    stated = target.fp32 if gpu and precision == "fp32" and target.fp32 else target.tflops
    peak = stated * 1e12 * processes * (1 if gpu else cores)
    device = workload.operations / (peak * pipeline.matrix)
    if gpu:
        if target.bandwidth:
            device += pipeline.passes * workload.traffic / (target.bandwidth * processes)
        device = max(device, BLOCK_SECONDS * workload.blocks)
    return Times(
        device,
        pipeline.loading * workload.videos / (processes * cores),
        STEP_SECONDS * workload.steps if gpu else 0.0,
        pipeline.overlaps,
        workload.operations / (peak * device) if device else 0.0,
    )
