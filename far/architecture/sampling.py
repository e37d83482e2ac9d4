"""Which frames a clip is made of. Each scheme's formulas are its ancestor's, index for index.

Every function takes the number of frames of the video, n, and of the clip, T, and returns frame numbers in [0, n).
One test view is deterministic and in the middle: validation never depends on a draw.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from far.registry import Registry

Indices = NDArray[np.int64]


class Sampler(Protocol):
    """A scheme of temporal sampling: a data class, whose fields are the settings of the data section that it reads."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def train(self, n: int, size: int, rng: np.random.Generator) -> Indices:
        """Return the frame numbers (size,) of a training clip."""

    def view(self, n: int, size: int, view: int, views: int) -> Indices:
        """Return the frame numbers (size,) of test clip ``view`` of ``views``."""

    def span(self, size: int) -> int:
        """Return the frames of a video below which a clip must repeat some."""


SAMPLERS: Registry[type[Sampler]] = Registry(
    "temporal sampling", "data.sampling", reads=lambda kind: [f"data.{field.name}" for field in fields(kind)]
)
"""What a sampler does not read it does not get, so that what counts in a trial's identity is what it reads."""


def sampler(data: Any) -> Sampler:
    """Return the sampler of a data section."""
    kind = SAMPLERS[data.sampling]
    return kind(**{field.name: getattr(data, field.name) for field in fields(kind)})


def settings_read(data: Any) -> dict[str, Any]:
    """Return the settings of a data section that its sampler reads, by dotted key."""
    return {key: getattr(data, key.removeprefix("data.")) for key in SAMPLERS.reads(data.sampling)}


@SAMPLERS.register("segments-mvd")
@dataclass(frozen=True)
class MvdSegments:
    """MVD's segments for Something-Something V2: the whole video, rounded bounds; a short video repeats by rounding."""

    def train(self, n: int, size: int, rng: np.random.Generator) -> Indices:
        """One frame of each segment i: an integer in [round(a i), round(a (i + 1))], a = (n - 1) / T."""
        bounds = np.round((n - 1) / size * np.arange(size + 1)).astype(np.int64)
        return rng.integers(bounds[:-1], bounds[1:], endpoint=True)

    def view(self, n: int, size: int, view: int, views: int) -> Indices:
        """Middle of the view's share of each segment; with two views, the ancestors' testing."""
        tick = (n - 1) / size
        segment = tick * np.arange(size)
        start, end = (np.round(segment + tick / views * edge) for edge in (view, view + 1))
        return (start + end).astype(np.int64) // 2

    def span(self, size: int) -> int:
        """One frame per segment."""
        return size


@SAMPLERS.register("segments-videomae")
@dataclass(frozen=True)
class VideomaeSegments:
    """VideoMAE's segments for Something-Something V2: whole frames per segment; what is left over is never trained on.

    A video shorter than the clip trains on its first frame alone, as in VideoMAE.
    """

    def train(self, n: int, size: int, rng: np.random.Generator) -> Indices:
        """Frame a i + randint(0, a) of each segment i, a = n // T."""
        length = n // size
        if length == 0:
            return np.zeros(size, np.int64)
        return length * np.arange(size) + rng.integers(0, length, size)

    def view(self, n: int, size: int, view: int, views: int) -> Indices:
        """Frame int(tick i + tick view / views), tick = n / T: starts and middles are the ancestors' two views."""
        tick = n / size
        offset = tick / 2 if views == 1 else tick / views * view
        return (offset + tick * np.arange(size)).astype(np.int64)

    def span(self, size: int) -> int:
        """One frame per segment."""
        return size


@SAMPLERS.register("dense")
@dataclass(frozen=True)
class Dense:
    """Kinetics' dense sampling: a window of T x stride frames."""

    stride: int = 4

    def train(self, n: int, size: int, rng: np.random.Generator) -> Indices:
        """A window anywhere: T points from its first frame to one past its last, rounded down."""
        window = size * self.stride
        if n <= window:
            some = np.linspace(0, n, n // self.stride)
            return np.clip(np.concatenate([some, np.full(size - len(some), n)]), 0, n - 1).astype(np.int64)
        end = int(rng.integers(window, n))
        points = np.linspace(end - window, end, size)
        return np.clip(points, end - window, end - 1).astype(np.int64)

    def view(self, n: int, size: int, view: int, views: int) -> Indices:
        """One of ``views`` windows, evenly spaced over every stride-th frame; the last frame fills a short video up."""
        strided = np.arange(0, n, self.stride)
        strided = np.concatenate([strided, np.full(max(size - len(strided), 0), strided[-1])])
        slack = len(strided) - size
        start = slack // 2 if views == 1 else int(view * (slack / (views - 1)))
        return strided[start : start + size]

    def span(self, size: int) -> int:
        """A whole window."""
        return size * self.stride
