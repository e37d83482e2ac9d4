"""Mixup and CutMix on clips, with soft targets; pairs are neighbours in the global batch.

The ancestors pair a micro-batch with its own reversal, which depends on how the batch is divided. Here clip 2i of the
batch's random order goes with clip 2i + 1, and a draw serves a group of neighbours whose size is part of the recipe:
the same in distribution, and the same on any number of devices. CutMix cuts in (H, W) through all frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from far.config.trial import AugmentConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mix:
    """One draw.

    Attributes:
        share: weight of a clip's own target; with CutMix, its share of the pixels after the box was clipped.
        box: (top, bottom, left, right) to take from the partner, or None for Mixup.
    """

    share: float
    box: tuple[int, int, int, int] | None = None


def draw(config: AugmentConfig, height: int, width: int, rng: np.random.Generator) -> Mix | None:
    """Draw how a group of clips of this frame size is mixed; None is not at all."""
    kept, switch = rng.random() < config.mix_probability, rng.random()
    if not kept:
        return None
    cut = config.cutmix > 0 and (config.mixup == 0 or switch < config.mix_switch)
    alpha = config.cutmix if cut else config.mixup
    share = float(rng.beta(alpha, alpha))
    if not cut:
        return Mix(share)
    side = math.sqrt(1 - share)
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    y, x = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(y - half_height, 0), min(y + half_height, height)
    left, right = max(x - half_width, 0), min(x + half_width, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))


def blend_into(mixed: torch.Tensor, clip: torch.Tensor, partner: torch.Tensor, mix: Mix) -> None:
    """Write a clip (3, T, H, W) mixed with its partner's to ``mixed``, of whatever floating type."""
    if mix.box is not None:
        top, bottom, left, right = mix.box
        mixed.copy_(clip)
        mixed[..., top:bottom, left:right] = partner[..., top:bottom, left:right]
        return
    at_once = 1 if clip.device.type == "cpu" else clip.shape[1]  # a frame stays in the processor's cache
    for target, own, other in zip(*(each.split(at_once, dim=1) for each in (mixed, clip, partner)), strict=True):
        target.copy_(own * mix.share + other * (1 - mix.share))


def soft_targets(
    labels: Sequence[int], partners: Sequence[int], shares: Sequence[float], classes: int, smoothing: float
) -> torch.Tensor:
    """Return targets (B, classes): smoothed one-hot of the labels and of the partners', weighted by the shares."""
    import torch

    off = smoothing / classes
    targets = torch.full((len(labels), classes), off)
    row = torch.arange(len(labels))
    share = torch.tensor(shares, dtype=torch.float32)
    targets[row, torch.tensor(labels)] += (1 - smoothing) * share
    targets[row, torch.tensor(partners)] += (1 - smoothing) * (1 - share)
    return targets
