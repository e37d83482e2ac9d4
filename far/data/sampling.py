"""Which frames a clip is made of. Each scheme's formulas are its ancestor's, index for index.

Every function takes the number of frames of the video, n, and of the clip, T, and returns frame numbers in [0, n).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from far.registry import Registry

Indices = NDArray[np.int64]


class Sampler(Protocol):
    """A scheme of temporal sampling."""

    def train(self, n: int, size: int, rng: np.random.Generator) -> Indices:
        """Return the frame numbers (size,) of a training clip."""

    def view(self, n: int, size: int, view: int, views: int) -> Indices:
        """Return the frame numbers (size,) of one of ``views`` test clips; one view is the deterministic middle."""


SAMPLERS: Registry[Sampler] = Registry("temporal sampling")


class MvdSegments:
    """MVD's segments for Something-Something V2: the whole video, rounded bounds, short videos by repetition."""

    def train(self, n: int, size: int, rng: np.random.Generator) -> Indices:
        """One frame of each segment: an integer in [round(a i), round(a (i + 1))], a = (n - 1) / T."""
        bounds = np.round((n - 1) / size * np.arange(size + 1)).astype(np.int64)
        return rng.integers(bounds[:-1], bounds[1:], endpoint=True)

    def view(self, n: int, size: int, view: int, views: int) -> Indices:
        """Middle of the view's share of each segment; the ancestors' two views for ``views=2``."""
        tick = (n - 1) / size
        start = tick * np.arange(size) + tick / views * view
        return (np.round(start) + np.round(start + tick / views)).astype(np.int64) // 2


SAMPLERS.register("segments-mvd")(MvdSegments())
