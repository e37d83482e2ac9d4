"""Augmentation of single clips, in the ancestors' order: RandAugment on whole frames, crop, flip, normalise, erase.

Every step draws from a generator of its own, keyed by its name: switching one on, or changing it, leaves the draws of
the others as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from far.config.augmentation import AUGMENTATIONS
from far.config.trial import AugmentConfig
from far.data.transforms import geometry

if TYPE_CHECKING:
    import torch

TRIES = 10
ERASED_AREA = (0.02, 1 / 3)
ERASED_ASPECT = (0.3, 10 / 3)

Draws = Callable[[str], np.random.Generator]
"""A clip's generators by the name of the step: ``randaug``, ``crop``, ``flip``, ``erasing`` or ``also NAME``."""


def augmented(
    clip: torch.Tensor, config: AugmentConfig, size: tuple[int, int], draws: Draws, *, flip: bool
) -> torch.Tensor:
    """Return a uint8 clip (3, T, H, W) augmented and of ``size`` (height, width), up to what follows normalisation.

    Args:
        clip: the frames as decoded.
        config: what is done to them.
        size: of the result.
        draws: the clip's generators.
        flip: whether half of the clips are mirrored.
    """
    box = None
    if config.crop:
        box = crop_box(clip.shape[-2], clip.shape[-1], config.crop_scale, config.crop_ratio, draws("crop"))
    if config.randaug_ops:
        from far.data.transforms import randaugment

        drawn = randaugment.draw(config, draws("randaug"))
        clip, box = randaugment.apply(clip, drawn, box, config.randaug_resampling), box and (0, 0, *box[2:])
    if box is not None:
        clip = resized_crop(clip, box, size)
    else:
        clip = geometry.crop(geometry.resize_to_cover(clip, size), size)
    clip = clip.flip(-1) if flip and draws("flip").random() < 0.5 else clip
    for name in config.also:
        clip = AUGMENTATIONS[name](clip, draws(f"also {name}"))
    return clip.contiguous()  # in planes, as batches are, and without what was cut off


def crop_box(
    height: int, width: int, scale: Sequence[float], ratio: Sequence[float], rng: np.random.Generator
) -> geometry.Box:
    """Draw the box of a random resized crop.

    The share of the area is uniform in ``scale``, the aspect (width over height) uniform in the logarithm of ``ratio``;
    after ten boxes that do not fit, it is the largest centred one whose aspect is allowed.
    """
    for _ in range(TRIES):
        area = rng.uniform(scale[0], scale[1]) * height * width
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (height - h) // 2, (width - w) // 2, h, w


def resized_crop(clip: torch.Tensor, box: geometry.Box, size: tuple[int, int]) -> torch.Tensor:
    """Cut a box out of a uint8 clip (3, T, H, W) and resize it to (height, width)."""
    return geometry.resize(geometry.cut(clip, box), size)


@dataclass(frozen=True)
class Erasure:
    """Noise (3, T, h, w) for a box of a clip, the same box in all frames."""

    top: int
    left: int
    noise: torch.Tensor

    def put(self, clip: torch.Tensor) -> None:
        """Put it into a normalised clip (3, T, H, W), in place."""
        height, width = self.noise.shape[-2:]
        clip[..., self.top : self.top + height, self.left : self.left + width] = self.noise


def draw_erasure(size: tuple[int, int, int], probability: float, rng: np.random.Generator) -> Erasure | None:
    """Draw the box and the normal noise of random erasing for a clip of (T, H, W); None where nothing is erased.

    The area is uniform in 0.02 to 1/3 of the frame, the aspect (height over width) uniform in the logarithm of 0.3 to
    10/3; after ten boxes that do not fit, nothing is erased.
    """
    import torch

    if rng.random() >= probability:
        return None
    frames, height, width = size
    for _ in range(TRIES):
        area = rng.uniform(ERASED_AREA[0], ERASED_AREA[1]) * height * width
        aspect = math.exp(rng.uniform(math.log(ERASED_ASPECT[0]), math.log(ERASED_ASPECT[1])))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < h < height and 0 < w < width:
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            return Erasure(top, left, torch.from_numpy(rng.standard_normal((3, frames, h, w), np.float32)))
    return None
