"""What the loader yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

UNREADABLE = "(unreadable)"
"""Id of the placeholder in a micro-batch none of whose videos could be read."""


@dataclass(frozen=True)
class Batch:
    """A micro-batch for training.

    Attributes:
        clips: normalised, (B, 3, T, H, W), on the stream's device and of its floating type.
        targets: classes (B,), or soft targets (B, C), on the same device.
        ids: the videos' ids, one per clip; clip v > 0 of one video (repeated augmentation) is ``id#v``.
        positions: place of each clip's video in the global batch of the step.
        failed: videos that were skipped because they could not be read. If that is all of them, one clip of zeros with
            all-zero soft targets stands in for them: its loss and gradients are zero.
    """

    clips: torch.Tensor
    targets: torch.Tensor
    ids: list[str]
    positions: list[int]
    failed: int = 0


@dataclass(frozen=True)
class EvalBatch:
    """Views for evaluation.

    Attributes:
        clips: normalised, (B, 3, T, H, W), on the stream's device and of its floating type.
        labels: classes (B,).
        ids: the videos' ids, one a view.
        clip: number of the temporal clip of each view.
        crop: number of the spatial crop of each view.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    ids: list[str]
    clip: list[int]
    crop: list[int]
