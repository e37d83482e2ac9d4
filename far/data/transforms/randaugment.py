"""RandAugment on clips: each operation takes a whole clip, so that all frames change alike.

The fifteen "increasing" operations of the ancestors' ``rand-m7-n4-mstd0.5-inc1``, with their scales and the rounding of
the imaging library that they run on (Pillow), for uint8 tensors (3, T, H, W) on any device. What an operation moves in
from outside the frame is grey (128).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from far.config.trial import AugmentConfig
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


def apply(clip: torch.Tensor, draws: list[Draw]) -> torch.Tensor:
    """Apply operations in turn to a uint8 clip (3, T, H, W)."""
    clip = clip.contiguous() if draws else clip
    for one in draws:
        clip = OPERATIONS[one.operation](clip, one.strength)
    return clip


@OPERATIONS.register("auto-contrast")
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
    index = clip.reshape(rows, -1).long() + 256 * torch.arange(rows, device=clip.device)[:, None]
    histogram = torch.bincount(index.flatten(), minlength=256 * rows).view(rows, 256)
    last = (histogram > 0).long().mul(torch.arange(256, device=clip.device)).argmax(1, keepdim=True)
    step = (height * width - histogram.gather(1, last)) // 255
    before = histogram.cumsum(1) - histogram
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    identity = torch.arange(256, device=clip.device).expand(rows, 256)
    table = torch.where(step > 0, table, identity).to(torch.uint8)
    return table.flatten()[index].view(channels, frames, height, width)


@OPERATIONS.register("invert")
def invert(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """The negative; the strength is not used."""
    return 255 - clip


@OPERATIONS.register("rotate")
def rotate(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Turn about the centre, up to 30 degrees, counterclockwise for a positive strength."""
    angle = math.radians(30 * strength)
    cos, sin = math.cos(angle), math.sin(angle)
    return _affine(clip, [[cos, -sin, 0], [sin, cos, 0]])


@OPERATIONS.register("posterize")
def posterize(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Keep the upper 4 bits, down to none."""
    bits = 4 - int(4 * abs(strength))
    return clip & (0xFF << (8 - bits) & 0xFF)


@OPERATIONS.register("solarize")
def solarize(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Invert what is not below a threshold, from 256 down to 0."""
    threshold = 256 - int(256 * abs(strength))
    return clip if threshold > 255 else torch.where(clip < threshold, clip, 255 - clip)


@OPERATIONS.register("solarize-add")
def solarize_add(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Add up to 110 to what is below 128."""
    return torch.where(clip < 128, clip + int(110 * abs(strength)), clip)  # 127 + 110 still fits a byte


@OPERATIONS.register("color")
def color(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Saturation by a factor of 1 - 0.9 to 1 + 0.9."""
    return _blend(_grey(clip), clip, strength)


@OPERATIONS.register("contrast")
def contrast(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Contrast about each frame's mean grey by a factor of 1 - 0.9 to 1 + 0.9."""
    mean = (_grey(clip).to(torch.float32).mean((-2, -1), keepdim=True) + 0.5).floor()
    return _blend(mean, clip, strength)


@OPERATIONS.register("brightness")
def brightness(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Brightness by a factor of 1 - 0.9 to 1 + 0.9."""
    return _blend(torch.zeros_like(clip[:1]), clip, strength)


@OPERATIONS.register("sharpness")
def sharpness(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Sharpness by a factor of 1 - 0.9 to 1 + 0.9 about a 3x3 smoothing; the border stays."""
    pixels = clip.to(torch.int16)  # sums of nine bytes and more: at most 13 x 255
    rows = pixels[..., :-2] + pixels[..., 1:-1] + pixels[..., 2:]
    total = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :] + 4 * pixels[..., 1:-1, 1:-1]
    smooth = clip.clone()
    smooth[..., 1:-1, 1:-1] = (total.to(torch.float32) / 13 + 0.5).to(torch.uint8)
    return _blend(smooth, clip, strength)


@OPERATIONS.register("shear-x")
def shear_x(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Shift rows in proportion to their place, up to 0.3 pixels a row, from the top left corner."""
    height = clip.shape[-2]
    return _affine(clip, [[1, 0.3 * strength, 0.3 * strength * height / 2], [0, 1, 0]])


@OPERATIONS.register("shear-y")
def shear_y(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Shift columns in proportion to their place, up to 0.3 pixels a column, from the top left corner."""
    width = clip.shape[-1]
    return _affine(clip, [[1, 0, 0], [0.3 * strength, 1, 0.3 * strength * width / 2]])


@OPERATIONS.register("translate-x")
def translate_x(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Shift sideways by up to 0.45 of the width."""
    return _affine(clip, [[1, 0, 0.45 * strength * clip.shape[-1]], [0, 1, 0]])


@OPERATIONS.register("translate-y")
def translate_y(clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Shift up or down by up to 0.45 of the height."""
    return _affine(clip, [[1, 0, 0], [0, 1, 0.45 * strength * clip.shape[-2]]])


def _grey(clip: torch.Tensor) -> torch.Tensor:
    """Return the luma (1, T, H, W), rounded as the imaging library does."""
    red, green, blue = clip.to(torch.int32)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16)[None].to(torch.uint8)


def _blend(base: torch.Tensor, clip: torch.Tensor, strength: float) -> torch.Tensor:
    """Return base + f (clip - base), f = 1 + 0.9 strength, at least 0.1, clipped to 0..255."""
    factor = max(0.1, 1 + 0.9 * strength)
    base = base.to(torch.float32)
    return (base + factor * (clip.to(torch.float32) - base)).clamp_(0, 255).to(torch.uint8)


def _affine(clip: torch.Tensor, matrix: list[list[float]]) -> torch.Tensor:
    """Sample a clip bicubically at ``matrix`` (2, 3) of each pixel's place, in pixels from the centre."""
    height, width = clip.shape[-2:]
    (a, b, c), (d, e, f) = matrix
    # the same map in coordinates that reach from -1 to 1
    scaled = [[a, b * height / width, 2 * c / width], [d * width / height, e, 2 * f / height]]
    theta = torch.tensor([scaled], dtype=torch.float32, device=clip.device)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False)
    flat = clip.flatten(0, 1)[None].to(torch.float32) - GREY  # channels and frames alike: one grid serves all
    moved = F.grid_sample(flat, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    return (moved + (GREY + 0.5)).clamp_(0, 255.5).to(torch.uint8).view(clip.shape)
