"""Frames to network input: geometry and normalisation, on uint8 tensors of clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from far.data.decoding.decoder import Frames

if TYPE_CHECKING:
    import torch

Box = tuple[int, int, int, int]
"""Top, left, height, width."""


def to_tensor(frames: Frames) -> torch.Tensor:
    """Return frames (T, H, W, 3) as a uint8 tensor (3, T, H, W) on the same memory, colours innermost."""
    import torch

    return torch.from_numpy(frames).permute(3, 0, 1, 2)


def cut(clip: torch.Tensor, box: Box) -> torch.Tensor:
    """Return a box of a clip (..., H, W)."""
    top, left, height, width = box
    return clip[..., top : top + height, left : left + width]


def resize(clip: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize a uint8 clip (3, T, H, W) to (height, width), bilinearly, without antialiasing, rounded to uint8.

    On a CPU, whole numbers with colours innermost are sixteen times as fast as floats in planes.
    """
    import torch
    import torch.nn.functional as F

    frames = clip.transpose(0, 1).contiguous(memory_format=torch.channels_last)
    if frames.device.type != "cpu":  # only floats there
        frames = frames.to(torch.float32)
    frames = F.interpolate(frames, size, mode="bilinear", align_corners=False)
    return frames.round().to(torch.uint8).transpose(0, 1) if frames.is_floating_point() else frames.transpose(0, 1)


def resize_to_cover(clip: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize a clip (3, T, H, W) in proportion to the smallest that covers ``size`` (height, width).

    For a square size this is the ancestors' resizing of the short side. A clip that fits is returned as it is.
    """
    height, width = clip.shape[-2:]
    wide = size[0] * width >= size[1] * height
    target = (size[0], size[0] * width // height) if wide else (size[1] * height // width, size[1])
    return clip if target == (height, width) else resize(clip, target)


def crop(clip: torch.Tensor, size: tuple[int, int], index: int = 0, crops: int = 1) -> torch.Tensor:
    """Cut crop ``index`` of ``crops`` along the longer side: evenly spaced from end to end, or the centre for one."""
    slack = [clip.shape[-2] - size[0], clip.shape[-1] - size[1]]
    longer = int(slack[1] >= slack[0])
    start = [slack[0] // 2, slack[1] // 2]
    if crops > 1:
        start[longer] = int(index * (slack[longer] / (crops - 1)))
    return clip[..., start[0] : start[0] + size[0], start[1] : start[1] + size[1]]


def normalise(clip: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return clips (..., 3, T, H, W) of 0..255 as float32, minus ``mean`` over ``std`` of the [0, 1] range."""
    import torch

    scale, shift = _affine(mean, std, clip.device)
    return clip.contiguous().to(torch.float32, copy=True).mul_(scale).add_(shift)


def normalise_into(
    batch: torch.Tensor, clips: Sequence[torch.Tensor], mean: Sequence[float], std: Sequence[float]
) -> None:
    """Write clips (3, T, H, W) of 0..255, normalised, to a float32 batch (B, 3, T, H, W) on their device."""
    if batch.device.type == "cpu":
        # clip by clip, while it is in the cache; put into planes as bytes, then made floats, it takes half the time
        scale, shift = _affine(mean, std, batch.device)
        for place, clip in zip(batch, clips, strict=True):
            place.copy_(clip.contiguous()).mul_(scale).add_(shift)
        return
    for place, clip in zip(batch, clips, strict=True):
        place.copy_(clip)
    for colour, m, s in zip(batch.unbind(1), mean, std, strict=True):  # numbers need no copy that waits for the device
        colour.mul_(1 / (255 * s)).add_(-m / s)


def _affine(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the factor and the summand, by colour, that normalise 0..255."""
    import torch

    scale = torch.tensor([1 / (255 * s) for s in std], device=device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
    return scale.view(3, 1, 1, 1), shift.view(3, 1, 1, 1)
