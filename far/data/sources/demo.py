"""The demo data set's clips: handwritten digits in motion, whose class is the motion and nothing else.

A class is a pose as a function of time, s in [-1, 1], that is the identity at s = 0; everything else (digit, place,
colours, clutter, noise) is drawn independently of the class. The middle frame therefore has one and the same
distribution for all classes, and each class has a partner that is its exact time reversal, s -> -s: only temporal
order tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from far.config.trial import DemoConfig
from far.randomness import numpy_rng
from far.registry import Registry

FRAMES = 33
"""Odd, so that there is a middle frame; two frames a segment, so that temporal jitter means something."""
FPS = 16
DIGIT = 22
"""Side of a drawn digit in pixels of a 64-pixel frame; it grows with the frame."""
VALIDATION_DIGITS = 597
"""Of scikit-learn's 1,797 digit images, those kept for validation; the other 1,200 are for training."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Where the digit is relative to its middle pose, per frame: shift in path lengths, turn in radians, log scale."""

    dx: Array
    dy: Array
    angle: Array
    zoom: Array


Motion = Callable[[Array, float], Pose]
"""Maps times s (T,) and a random angle of the clip in radians to poses; the pose at s = 0 must be the identity."""

MOTIONS: Registry[Motion] = Registry("demo motion")


def _still(s: Array) -> dict[str, Array]:
    zero = np.zeros_like(s)
    return {"dx": zero, "dy": zero, "angle": zero, "zoom": zero}


def _pair(forward: str, backward: str) -> Callable[[Motion], Motion]:
    """File a motion, and its time reversal right after it."""

    def add(motion: Motion) -> Motion:
        MOTIONS.register(forward)(motion)
        MOTIONS.register(backward)(lambda s, phase: motion(-s, phase))
        return motion

    return add


@_pair("right", "left")
def _right(s: Array, phase: float) -> Pose:
    return Pose(**{**_still(s), "dx": s / 2})


@_pair("down", "up")
def _down(s: Array, phase: float) -> Pose:
    return Pose(**{**_still(s), "dy": s / 2})


@_pair("grow", "shrink")
def _grow(s: Array, phase: float) -> Pose:
    return Pose(**{**_still(s), "zoom": 0.35 * s})


@_pair("turn-clockwise", "turn-counterclockwise")
def _turn(s: Array, phase: float) -> Pose:
    return Pose(**{**_still(s), "angle": 0.9 * s})


@_pair("circle-clockwise", "circle-counterclockwise")
def _circle(s: Array, phase: float) -> Pose:
    """One full circle through the middle place; where its centre lies is random (``phase``)."""
    turn, radius = np.pi * s, 0.3
    return Pose(
        **{
            **_still(s),
            "dx": radius * (np.cos(phase + turn) - np.cos(phase)),
            "dy": radius * (np.sin(phase + turn) - np.sin(phase)),
        }
    )


def reversals() -> list[int]:
    """Return, for each class, the class of the time-reversed video."""
    return [label ^ 1 for label in range(len(MOTIONS))]


@cache
def digit_pool(split: str) -> NDArray[np.float32]:
    """Return scikit-learn's digit images (N, 8, 8) in [0, 1] of a split; the splits share no image."""
    from sklearn.datasets import load_digits

    images = load_digits().images.astype(np.float32) / 16
    order = numpy_rng(0, "demo", "digits").permutation(len(images))
    return images[order[:VALIDATION_DIGITS] if split == "val" else order[VALIDATION_DIGITS:]]


def label_of(index: int) -> int:
    """Return the class of a clip by its number in the split: classes take turns."""
    return index % len(MOTIONS)


def render(config: DemoConfig, split: str, index: int, pool: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw one clip.

    Args:
        config: size, noise, clutter, motion.
        split: ``train`` or ``val``.
        index: number of the clip in its split; its class is ``label_of(index)``.
        pool: digit images of the split.

    Returns:
        RGB frames (33, size, size, 3).
    """
    motion = list(MOTIONS.values())[label_of(index)]
    rng = numpy_rng(config.seed, "demo", split, index)
    size, digit = config.size, DIGIT * config.size / 64
    scene = np.full((size, size), 0.0, np.float32)
    for _ in range(config.clutter):
        _draw_fragment(scene, pool[rng.integers(len(pool))], rng, 0.8 * digit)
    margin = min(0.5 * digit + 0.7 * config.motion, size / 2)
    x0, y0 = rng.uniform(margin, size - margin, 2)
    pose = motion(np.linspace(-1, 1, FRAMES), rng.uniform(0, 2 * np.pi))
    moving = _sprite(
        pool[rng.integers(len(pool))],
        size,
        x0 + config.motion * pose.dx,
        y0 + config.motion * pose.dy,
        pose.angle + rng.uniform(-0.3, 0.3),
        digit * rng.uniform(0.85, 1.15) * np.exp(pose.zoom),
    )
    back, ink = rng.uniform(0.0, 0.45, 3), rng.uniform(0.55, 1.0, 3)
    coverage = np.maximum(moving, scene, out=moving)
    coverage += np.float32(config.noise) * rng.standard_normal(coverage.shape, np.float32)
    # 256 shades from background to ink; noise may leave that range by half of it on either side
    shade = np.clip((coverage + 0.5) * 127.5 + 0.5, 0, 255).astype(np.uint8)
    ramp = np.zeros((256, 4), np.uint8)
    ramp[:, :3] = np.clip(back + (np.arange(256) / 127.5 - 0.5)[:, None] * (ink - back), 0, 1) * 255 + 0.5
    # looked up as one 32-bit word a pixel: nine times as fast as three bytes
    pixels = ramp.view(np.uint32).ravel().take(shade).view(np.uint8).reshape(*shade.shape, 4)
    return np.ascontiguousarray(pixels[..., :3])


def _draw_fragment(
    scene: NDArray[np.float32], image: NDArray[np.float32], rng: np.random.Generator, side: float
) -> None:
    """Add one quadrant of a digit to the scene, still, anywhere, fainter than the digit that moves."""
    size = len(scene)
    top, left = rng.integers(0, 2, 2) * 4
    part = np.zeros_like(image)
    part[top : top + 4, left : left + 4] = image[top : top + 4, left : left + 4]
    at = [np.array([value]) for value in (*rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi), side)]
    np.maximum(scene, rng.uniform(0.3, 0.8) * _sprite(part, size, *at)[0], out=scene)


def _sprite(
    image: NDArray[np.float32], size: int, x: Array, y: Array, angle: Array, side: Array
) -> NDArray[np.float32]:
    """Draw an 8x8 image at poses (T,) into frames (T, size, size), bilinearly; only the part it covers is computed."""
    reach = int(np.ceil(side.max() * 0.72))
    padded = np.pad(image, 2).ravel()
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    column, row = np.round(x).astype(int), np.round(y).astype(int)
    u = (column - x).astype(np.float32)[:, None, None] + offset[None, None, :]
    v = (row - y).astype(np.float32)[:, None, None] + offset[None, :, None]
    scale = (8 / side).astype(np.float32)
    cos, sin = (np.cos(angle) * scale)[:, None, None], (np.sin(angle) * scale)[:, None, None]
    i = np.clip(cos.astype(np.float32) * v - sin.astype(np.float32) * u + 5.5, 0, 10.999)
    j = np.clip(cos.astype(np.float32) * u + sin.astype(np.float32) * v + 5.5, 0, 10.999)
    i0, j0 = i.astype(np.int32), j.astype(np.int32)
    fi, fj, at = i - i0, j - j0, i0 * 12 + j0
    top = padded.take(at) * (1 - fj) + padded.take(at + 1) * fj
    bottom = padded.take(at + 12) * (1 - fj) + padded.take(at + 13) * fj
    patch = top + fi * (bottom - top)
    canvas = np.zeros((len(x), size + 2 * reach, size + 2 * reach), np.float32)
    for frame, (c, r) in enumerate(zip(column, row, strict=True)):
        c, r = min(max(c, 0), size - 1), min(max(r, 0), size - 1)
        canvas[frame, r : r + 2 * reach + 1, c : c + 2 * reach + 1] = patch[frame]
    return canvas[:, reach : reach + size, reach : reach + size]
