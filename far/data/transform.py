"""Frames to network input: geometry and normalisation, on uint8 tensors of clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from far.data.decoder import Frames

if TYPE_CHECKING:
    import torch


def to_tensor(frames: Frames) -> torch.Tensor:
    """Return frames (T, H, W, 3) as a uint8 tensor (3, T, H, W)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frames.transpose(3, 0, 1, 2)))


def resize_to_cover(clip: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize a clip (3, T, H, W), bilinearly and in proportion, to the smallest that covers ``size`` (height, width).

    For a square size this is the ancestors' resizing of the short side. A clip that fits is returned as it is.
    """
    import torch
    import torch.nn.functional as F

    height, width = clip.shape[-2:]
    wide = size[0] * width >= size[1] * height
    target = (size[0], size[0] * width // height) if wide else (size[1] * height // width, size[1])
    if target == (height, width):
        return clip
    return F.interpolate(clip.transpose(0, 1).to(torch.float32), target, mode="bilinear").transpose(0, 1)


def crop(clip: torch.Tensor, size: tuple[int, int], index: int = 0, crops: int = 1) -> torch.Tensor:
    """Cut crop ``index`` of ``crops`` along the longer side: evenly spaced from end to end, or the centre for one."""
    slack = [clip.shape[-2] - size[0], clip.shape[-1] - size[1]]
    longer = int(slack[1] >= slack[0])
    start = [slack[0] // 2, slack[1] // 2]
    if crops > 1:
        start[longer] = int(index * (slack[longer] / (crops - 1)))
    return clip[..., start[0] : start[0] + size[0], start[1] : start[1] + size[1]]


def normalise(clip: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return a clip (3, T, H, W) of 0..255 as float32, minus ``mean`` over ``std`` of the [0, 1] range."""
    import torch

    shape = (3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=clip.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clip.device).view(shape)
    return torch.addcmul(shift, clip.to(torch.float32), scale)
