"""What a plug-in may add to each axis of ``far``, and what an entry must be: checked when it is loaded, without torch.

An entry is tried on small sizes, so that a mistake is told at once, with its file and line. ``farlab check-plugin`` and
``far.testing`` check the rest. Axes of which every trial reads all entries, such as RandAugment's operations, take none
from plug-ins: a new one would change the trials that do not name it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from far.architecture.backbones import BACKBONES, Backbone
from far.architecture.classifiers import CLASSIFIERS, Classifier
from far.architecture.config import FarConfig, ModelConfig
from far.architecture.counting import Count
from far.architecture.interactions import INTERACTIONS, Interaction
from far.architecture.networks import NETWORKS, Network
from far.architecture.patterns import PATTERNS
from far.architecture.position_embeddings import EMBEDDINGS, PositionEmbedding
from far.architecture.sampling import SAMPLERS
from far.config.augmentation import AUGMENTATIONS
from far.config.data import DataConfig
from far.config.optimization import OPTIMIZERS, SCHEDULES, Optimizer
from far.errors import ConfigError
from far.evaluate.metrics import METRICS, Metric
from far.registry import Accepts, function_of, instance_of
from far.text import with_article

GRIDS = ((2, 4, 6), (3, 7, 7), (1, 1, 1))
"""Token grids on which patterns are tried."""


@functools.cache
def expectations() -> Mapping[str, Accepts]:
    """Return what an entry must be, by axis."""
    found: dict[Any, Accepts] = {
        PATTERNS.axis: function_of("grid", more=_pattern),
        INTERACTIONS.axis: instance_of(Interaction, _interaction),
        CLASSIFIERS.axis: instance_of(Classifier, _classifier),
        NETWORKS.axis: instance_of(Network, _network),
        BACKBONES.axis: instance_of(Backbone),
        EMBEDDINGS.axis: instance_of(PositionEmbedding, _embedding),
        SAMPLERS.axis: _sampler,
        AUGMENTATIONS.axis: function_of("clip", "rng"),
        OPTIMIZERS.axis: instance_of(Optimizer),
        SCHEDULES.axis: function_of("progress", more=_schedule),
        METRICS.axis: instance_of(Metric, _metric),
    }
    return found


def _pattern(entry: Any) -> str:
    for grid in GRIDS:
        try:
            labels = entry(grid)
        except ConfigError:  # it says itself which grids it cannot do
            continue
        if problem := pattern_problem(labels, grid):
            return problem
    return ""


def pattern_problem(labels: Any, grid: tuple[int, int, int]) -> str:
    """Return what is wrong with the labels that a pattern gives a grid, empty if nothing is."""
    what = f"gives the grid {'x'.join(map(str, grid))}"
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        kind = (
            f"values of type {labels.dtype}" if isinstance(labels, np.ndarray) else with_article(type(labels).__name__)
        )
        return f"{what} {kind}, and an array of whole numbers is needed"
    if labels.shape != grid:
        return f"{what} labels of shape {labels.shape}"
    found = np.unique(labels)
    if not np.array_equal(found, np.arange(len(found))):
        return f"{what} the labels {found[:6].tolist()}, and they must count from 0 without gaps"
    return ""


def _small() -> FarConfig:
    values = {"backbone": "tiny", "depth": 1, "clip": [4, 32, 48], "tubelet": [2, 8, 8]}
    return FarConfig.model_validate({**values, "attention": {"global": 1}, "interaction": "none"})


def _counts(entry: Any) -> str:
    counted = entry.count(_small())
    return (
        ""
        if isinstance(counted, Count)
        else f"counts {with_article(type(counted).__name__)}, not a far.architecture.Count"
    )


def _interaction(entry: Interaction) -> str:
    try:
        entry.check(_small())
    except ConfigError:
        return ""
    return _counts(entry)


def _classifier(entry: Classifier) -> str:
    try:
        entry.check(_small())
        features = entry.features(_small())
    except ConfigError:
        return ""
    if not isinstance(features, int | np.integer) or features < 1:
        return f"has {features!r} features, and a whole number from 1 on is needed"
    return _counts(entry)


def _network(entry: Network[Any]) -> str:
    section = getattr(entry, "section", None)
    if not (isinstance(section, type) and issubclass(section, ModelConfig) and section is not ModelConfig):
        return "has no section: a class derived from far.architecture.networks.ModelConfig"
    if type(entry).build is Network.build and not isinstance(getattr(entry, "builder", None), str):
        return 'has no builder: "module:name" of what builds it'
    return ""


def _embedding(entry: PositionEmbedding) -> str:
    if entry.table is None:
        return ""
    try:
        table = entry.table((2, 4, 6), 96)
    except ConfigError:
        return ""
    shape = getattr(table, "shape", None)
    return "" if shape == (48, 96) else f"gives 2x4x6 tokens of width 96 a table of shape {shape}, not (48, 96)"


def _sampler(entry: Any) -> str:
    if not (isinstance(entry, type) and dataclasses.is_dataclass(entry)):
        return "is no data class, whose fields are the settings of the data section that it reads"
    unknown = [each.name for each in dataclasses.fields(entry) if each.name not in DataConfig.model_fields]
    if unknown:
        return f"reads '{unknown[0]}', which the data section has not"
    lacking = [name for name in ("train", "view", "span") if not callable(getattr(entry, name, None))]
    if lacking:
        return f"has no method {lacking[0]} (far.architecture.sampling.Sampler)"
    scheme: Any = entry(**{each.name: getattr(DataConfig(), each.name) for each in dataclasses.fields(entry)})
    rng = np.random.default_rng(0)
    for frames in (1, 5, 100):
        for indices in (scheme.train(frames, 8, rng), scheme.view(frames, 8, 0, 1), scheme.view(frames, 8, 1, 2)):
            found = np.asarray(indices)
            if found.shape != (8,) or found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= frames:
                return f"gives a clip of 8 frames of a video of {frames} the frames {found.tolist()}"
    return ""


def _schedule(entry: Any) -> str:
    shares = [entry(progress) for progress in (0.0, 0.5, 1.0)]
    return "" if all(isinstance(each, int | float) for each in shares) else f"gives {shares}, and numbers are needed"


def _metric(entry: Metric) -> str:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.3, 0.4, 0.3]])
    value = entry.compute(probabilities, np.array([0, 2, 0]), 3)
    return "" if isinstance(value, float) else f"computes {with_article(type(value).__name__)}, and a float is needed"
