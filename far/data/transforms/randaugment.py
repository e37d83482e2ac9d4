"""RandAugment on clips: each operation takes a whole clip, so that all frames change alike.

The fifteen "increasing" operations of the ancestors' ``rand-m7-n4-mstd0.5-inc1``, with their scales and the rounding of
the imaging library that they run on (Pillow), for uint8 tensors (3, T, H, W) on any device. What an operation moves in
from outside the frame is grey (128).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from far.config.trial import AugmentConfig
from far.data.feed import send
from far.data.transforms.geometry import Box, cut
from far.registry import Registry

Operation = Callable[[torch.Tensor, float], torch.Tensor]
"""Maps a clip (3, T, H, W) uint8 and a signed strength in [-1, 1], the magnitude over 10, to a clip of its shape."""

OPERATIONS: Registry[Operation] = Registry("RandAugment operation")
GREY = 128


@dataclass(frozen=True)
class Draw:
    """One operation to apply: its name and signed strength in [-1, 1]."""

    operation: str
    strength: float


def draw(config: AugmentConfig, rng: np.random.Generator) -> list[Draw]:
    """Draw a clip's operations: ``randaug_ops`` with replacement, each kept with its probability, normal magnitudes."""
    names = list(OPERATIONS)
    draws = []
    for _ in range(config.randaug_ops):
        name = names[rng.integers(len(names))]
        kept = rng.random() < config.randaug_probability
        magnitude = min(max(rng.normal(config.randaug_magnitude, config.randaug_std), 0.0), 10.0)
        sign = 1 if rng.random() < 0.5 else -1
        if kept:
            draws.append(Draw(name, sign * magnitude / 10))
    return draws


def apply(clip: torch.Tensor, draws: list[Draw], box: Box | None = None, resampling: str = "bicubic") -> torch.Tensor:
    """Apply operations in turn to a uint8 clip (3, T, H, W), and cut a box out of the result.

    Args:
        clip: the frames.
        draws: the operations.
        box: what is wanted of the result; default: all. The last operations make nothing else, which changes no pixel.
        resampling: how operations that move pixels read between them, ``bicubic`` or ``bilinear``.
    """
    clip = clip.contiguous() if draws else clip
    box = box or (0, 0, *clip.shape[-2:])
    before = len(draws)  # operations from here on see the box alone
    while before and draws[before - 1].operation in POINTWISE:
        before -= 1
    for number, one in enumerate(draws):
        operation: Any = OPERATIONS[one.operation]
        if isinstance(operation, Motion):
            last = number == before - 1
            clip = operation.move(clip, one.strength, box if last else None, resampling)
            box = (0, 0, *box[2:]) if last else box
        else:
            clip = operation(cut(clip, box) if number == before else clip, one.strength)
            box = (0, 0, *box[2:]) if number == before else box
    return cut(clip, box)


POINTWISE: set[str] = set()
"""Operations whose every pixel depends on that pixel alone."""


def _framewise(operation: Operation) -> Operation:
    """Have a CPU do an operation frame by frame: one frame's floats stay in its cache, a clip's do not."""

    @functools.wraps(operation)
    def applied(clip: torch.Tensor, strength: float) -> torch.Tensor:
        if clip.device.type != "cpu":
            return operation(clip, strength)
        out = torch.empty_like(clip, memory_format=torch.contiguous_format)
        for old, new in zip(clip.split(1, dim=1), out.split(1, dim=1), strict=True):
            new.copy_(operation(old, strength))
        return out

    return applied


def _by_value(operation: Operation) -> Operation:
    """Have a CPU do an operation once for each of the 256 values of a byte, and look them up."""

    @functools.wraps(operation)
    def applied(clip: torch.Tensor, strength: float) -> torch.Tensor:
        if clip.device.type != "cpu":
            return operation(clip, strength)
        table = operation(torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256), strength).flatten()
        return _look_up(clip, table.expand(clip.shape[0] * clip.shape[1], 256))

    return applied


def _look_up(clip: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
    """Map each plane of a clip (3, T, H, W) on a CPU by its row of ``tables`` (3 T, 256)."""
    out = torch.empty_like(clip, memory_format=torch.contiguous_format)
    planes = zip(clip.reshape(-1, *clip.shape[2:]), out.view(-1, clip[0, 0].numel()), tables, strict=True)
    for plane, new, table in planes:
        torch.index_select(table, 0, plane.flatten().int(), out=new)
    return out


def pointwise(name: str) -> Callable[[Operation], Operation]:
    """Register an operation whose every pixel depends on that pixel alone."""
    POINTWISE.add(name)
    return OPERATIONS.register(name)


@dataclass(frozen=True)
class Motion:
    """An operation that moves pixels: each of the result is read at another place of the clip.

    Attributes:
        matrix: maps height, width and strength to that place: ``(2, 3)`` on a pixel's own, in pixels from the centre.
    """

    matrix: Callable[[int, int, float], list[list[float]]]

    def __call__(self, clip: torch.Tensor, strength: float) -> torch.Tensor:
        """Apply it."""
        return self.move(clip, strength, None, "bicubic")

    def move(self, clip: torch.Tensor, strength: float, box: Box | None, resampling: str) -> torch.Tensor:
        """Apply it, and make a box of the result alone, if one is given."""
        height, width = clip.shape[-2:]
        return _affine(clip, self.matrix(height, width, strength), box, resampling)


def motion(name: str) -> Callable[[Callable[[int, int, float], list[list[float]]]], Motion]:
    """Register an operation that moves pixels, by its matrix."""

    def register(matrix: Callable[[int, int, float], list[list[float]]]) -> Motion:
        made = Motion(matrix)
        OPERATIONS.register(name)(made)
        return made

    return register


@OPERATIONS.register("auto-contrast")
@_framewise
def auto_contrast(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Stretch each channel of each frame to 0..255; the strength is not used."""
    low, high = (bound.to(torch.float32) for bound in clip.flatten(2).aminmax(dim=2))
    scale = torch.where(high > low, 255 / (high - low).clamp(min=1), torch.ones_like(low))
    offset = torch.where(high > low, -low * scale, torch.zeros_like(low))
    return (clip * scale[..., None, None] + offset[..., None, None]).clamp_(0, 255).to(torch.uint8)


@OPERATIONS.register("equalize")
def equalize(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Flatten the histogram of each channel of each frame; the strength is not used."""
    channels, frames, height, width = clip.shape
    rows = channels * frames
    planes = clip.reshape(rows, -1)
    if clip.device.type == "cpu":
        histogram = torch.stack([torch.bincount(plane, minlength=256) for plane in planes])
    else:  # whose bincount waits for the device to learn the largest value
        index = planes.long() + 256 * torch.arange(rows, device=clip.device)[:, None]
        ones = torch.ones((), dtype=torch.int64, device=clip.device).expand(index.numel())
        counts = torch.zeros(256 * rows, dtype=torch.int64, device=clip.device)
        histogram = counts.scatter_add_(0, index.flatten(), ones).view(rows, 256)
    last = (histogram > 0).long().mul(torch.arange(256, device=clip.device)).argmax(1, keepdim=True)
    step = (height * width - histogram.gather(1, last)) // 255
    before = histogram.cumsum(1) - histogram
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    identity = torch.arange(256, device=clip.device).expand(rows, 256)
    table = torch.where(step > 0, table, identity).to(torch.uint8)
    if clip.device.type == "cpu":
        return _look_up(clip, table)
    return table.flatten()[index].view(channels, frames, height, width)


@pointwise("invert")
def invert(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """The negative; the strength is not used."""
    return 255 - clip


@motion("rotate")
def rotate(height: int, width: int, strength: float) -> list[list[float]]:
    """Turn about the centre, up to 30 degrees, counterclockwise for a positive strength."""
    angle = math.radians(30 * strength)
    cos, sin = math.cos(angle), math.sin(angle)
    return [[cos, -sin, 0], [sin, cos, 0]]


@pointwise("posterize")
def posterize(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Keep the upper 4 bits, down to none."""
    bits = 4 - int(4 * abs(strength))
    return clip & (0xFF << (8 - bits) & 0xFF)


@pointwise("solarize")
@_by_value
def solarize(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Invert what is not below a threshold, from 256 down to 0."""
    threshold = 256 - int(256 * abs(strength))
    return clip if threshold > 255 else torch.where(clip < threshold, clip, 255 - clip)


@pointwise("solarize-add")
@_by_value
def solarize_add(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Add up to 110 to what is below 128."""
    return torch.where(clip < 128, clip + int(110 * abs(strength)), clip)  # 127 + 110 still fits a byte


@pointwise("color")
@_framewise
def color(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Saturation by a factor of 1 - 0.9 to 1 + 0.9."""
    return _blend(_grey(clip), clip, strength)


@OPERATIONS.register("contrast")
@_framewise
def contrast(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Contrast about each frame's mean grey by a factor of 1 - 0.9 to 1 + 0.9."""
    mean = (_grey(clip).to(torch.float32).mean((-2, -1), keepdim=True) + 0.5).floor()
    return _blend(mean, clip, strength)


@pointwise("brightness")
@_by_value
def brightness(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Brightness by a factor of 1 - 0.9 to 1 + 0.9."""
    return _blend(torch.zeros_like(clip[:1]), clip, strength)


@OPERATIONS.register("sharpness")
@_framewise
def sharpness(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Sharpness by a factor of 1 - 0.9 to 1 + 0.9 about a 3x3 smoothing; the border stays."""
    pixels = clip.to(torch.int16)  # sums of nine bytes and more: at most 13 x 255
    rows = pixels[..., :-2] + pixels[..., 1:-1] + pixels[..., 2:]
    total = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :] + 4 * pixels[..., 1:-1, 1:-1]
    smooth = clip.clone()
    smooth[..., 1:-1, 1:-1] = (total.to(torch.float32) / 13 + 0.5).to(torch.uint8)
    return _blend(smooth, clip, strength)


@motion("shear-x")
def shear_x(height: int, width: int, strength: float) -> list[list[float]]:
    """Shift rows in proportion to their place, up to 0.3 pixels a row, from the top left corner."""
    return [[1, 0.3 * strength, 0.3 * strength * height / 2], [0, 1, 0]]


@motion("shear-y")
def shear_y(height: int, width: int, strength: float) -> list[list[float]]:
    """Shift columns in proportion to their place, up to 0.3 pixels a column, from the top left corner."""
    return [[1, 0, 0], [0.3 * strength, 1, 0.3 * strength * width / 2]]


@motion("translate-x")
def translate_x(height: int, width: int, strength: float) -> list[list[float]]:
    """Shift sideways by up to 0.45 of the width."""
    return [[1, 0, 0.45 * strength * width], [0, 1, 0]]


@motion("translate-y")
def translate_y(height: int, width: int, strength: float) -> list[list[float]]:
    """Shift up or down by up to 0.45 of the height."""
    return [[1, 0, 0], [0, 1, 0.45 * strength * height]]


def _grey(clip: torch.Tensor) -> torch.Tensor:
    """Return the luma (1, T, H, W), rounded as the imaging library does."""
    red, green, blue = clip.to(torch.int32)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16)[None].to(torch.uint8)


def _blend(base: torch.Tensor, clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Return base + f (clip - base), f = 1 + 0.9 strength, at least 0.1, clipped to 0..255."""
    factor = max(0.1, 1 + 0.9 * strength)
    base = base.to(torch.float32)
    return clip.to(torch.float32).sub_(base).mul_(factor).add_(base).clamp_(0, 255).to(torch.uint8)


def _affine(clip: torch.Tensor, matrix: list[list[float]], box: Box | None, resampling: str) -> torch.Tensor:
    """Sample a clip at ``matrix`` (2, 3) of each pixel's place, in pixels from the centre."""
    height, width = clip.shape[-2:]
    (a, b, c), (d, e, f) = matrix
    # the same map in coordinates that reach from -1 to 1
    scaled = [[a, b * height / width, 2 * c / width], [d * width / height, e, 2 * f / height]]
    theta = send(torch.tensor([scaled], dtype=torch.float32), clip.device)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)
    box = box or (0, 0, height, width)
    grid = cut(grid.movedim(-1, 1), box).movedim(1, -1).contiguous()
    out = clip.new_empty(*clip.shape[:2], *box[2:])
    colours = zip(clip, out, strict=True) if clip.device.type == "cpu" else [(clip.flatten(0, 1), out.flatten(0, 1))]
    for old, new in colours:  # frames alike: one grid serves all
        flat = old[None].to(torch.float32) - GREY
        moved = F.grid_sample(flat, grid, mode=resampling, padding_mode="zeros", align_corners=False)
        new.copy_(moved.add_(GREY + 0.5).clamp_(0, 255.5)[0])
    return out
