"""What a test is scored by, from the mean over each video's views of their softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from far.registry import Registry

Probabilities = NDArray[np.float64]
"""Shape (videos, classes)."""
Labels = NDArray[np.int64]
"""Shape (videos,)."""


@dataclass(frozen=True)
class Metric:
    """A number of a test.

    Attributes:
        compute: from probabilities, labels and the number of videos that should have been answered, of which those that
            could not be read are missing.
        larger_is_better: which direction is good.
    """

    compute: Callable[[Probabilities, Labels, int], float]
    larger_is_better: bool = True


def ranks(probabilities: Probabilities, labels: Labels) -> NDArray[np.int64]:
    """Return the place of each video's own class, from 1.

    A tie counts against the model, so that a constant answer never scores; nor does one that is not a number.
    """
    own = probabilities[np.arange(len(labels)), labels]
    found: NDArray[np.int64] = probabilities.shape[1] - (probabilities < own[:, None]).sum(axis=1)
    return found


def softmax(logits: NDArray[np.float32]) -> Probabilities:
    """Return the softmax of each row, in 64 bits, shape (views, classes) as the logits."""
    whole = logits.astype(np.float64)
    whole -= whole.max(axis=1, keepdims=True)
    np.exp(whole, out=whole)
    whole /= whole.sum(axis=1, keepdims=True)
    return whole


@dataclass(frozen=True)
class Scores:
    """What was said of each video, over its views.

    Attributes:
        ids: sorted.
        labels: of shape (videos,).
        probabilities: mean of the views' softmax, of shape (videos, classes).
    """

    ids: Sequence[str]
    labels: Labels
    probabilities: Probabilities

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Of each video's label (see ``ranks``)."""
        return ranks(self.probabilities, self.labels)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probabilities.shape[1]

    def correct(self, k: int = 1) -> NDArray[np.bool_]:
        """Whether the label is among the k highest."""
        return self.ranks <= min(k, self.classes)


def top(k: int) -> Callable[[Probabilities, Labels, int], float]:
    """Return what computes the accuracy among the k likeliest classes, in percent of the expected videos."""

    def accuracy(probabilities: Probabilities, labels: Labels, expected: int) -> float:
        right = ranks(probabilities, labels) <= min(k, probabilities.shape[1])
        return 100.0 * float(right.sum()) / expected

    return accuracy


def loss(probabilities: Probabilities, labels: Labels, expected: int) -> float:
    """Return the mean cross-entropy in nats of the evaluated videos."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, 1e-12)).mean())


METRICS: Registry[Metric] = Registry("metric")
METRICS.register("top1")(Metric(top(1)))
METRICS.register("top5")(Metric(top(5)))
METRICS.register("loss")(Metric(loss, larger_is_better=False))
