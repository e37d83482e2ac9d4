"""Figure 2: who attends to whom, drawn on real patches from the patterns' own definitions."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from far.architecture.patterns import PATTERNS
from far.config import TrialConfig
from far.config.trial import DemoConfig
from far.data.sources.demo import digit_pool, render
from reports.figures import FIGURES, Drawing, FigureSpec, Options
from reports.figures.style import PAGE, bare
from reports.results.results import Results
from reports.text import number

PATCH = 16
GRID = (2, 7, 7)
"""Tokens drawn: two adjacent frames, as in the paper; the patterns extend to all frames alike."""
PAPER_ORDER = ("global", "temporal", "sparse-dense")
QUERY_COLOUR = np.array([0, 114, 178]) / 255
KEY_COLOUR = np.array([230, 159, 0]) / 255


def draw(results: Results | None, options: Options) -> Drawing:
    """Draw patterns over two frames: the query blue, what it attends to orange, the rest grey."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    frames = _frames(options.video)
    query = (0, GRID[1] // 2, GRID[2] // 2)
    shown = options.rows or PAPER_ORDER
    for name in shown:
        PATTERNS[name]  # an unknown name is an error that lists the known ones
    figure, axes = plt.subplots(
        2, len(shown), figsize=(PAGE * 0.75, PAGE * 0.75 / len(shown) * 2.15 + 0.3), squeeze=False
    )
    shares = {}
    for column, name in enumerate(shown):
        attended = attended_by(name, query)
        shares[name] = 100 * float(np.mean([attended_by(name, tuple(q)).mean() for q in np.ndindex(*GRID)]))
        for t in range(GRID[0]):
            axis = axes[t][column]
            axis.imshow(_coloured(frames[t], attended[t], query[1:] if t == query[0] else None))
            bare(axis)
            inner = np.arange(1, GRID[1]) * PATCH - 0.5
            axis.hlines(inner, -0.5, GRID[2] * PATCH - 0.5, color="white", linewidth=0.6)
            axis.vlines(inner, -0.5, GRID[1] * PATCH - 0.5, color="white", linewidth=0.6)
            if column == 0:
                axis.set_ylabel(f"frames {2 * t + 1}, {2 * t + 2}")
        axes[0][column].set_title(f"({string.ascii_lowercase[column]}) {name}")
        axes[1][column].set_xlabel(f"{number(shares[name], 1)} % of pairs")
    key = [
        Patch(color=tuple(colour), label=label)
        for colour, label in (
            (0.75 * QUERY_COLOUR + 0.25, "query"),
            (0.6 * KEY_COLOUR + 0.4, "attended to"),
            (np.full(3, 0.8), "not attended to"),
        )
    ]
    figure.legend(handles=key, loc="outside lower center", ncols=len(key))
    caption = "Tokens of two adjacent frames; below, the share of all pairs of tokens that attend to each other."
    said = "; ".join(f"{name} {number(share, 1)} % of pairs" for name, share in shares.items())
    return Drawing(figure, "", caption, f"Which tokens one query attends to, by pattern: {said}.")


def attended_by(name: str, query: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which tokens (T, H, W) a query attends to, itself included."""
    labels = PATTERNS[name](GRID)
    return labels == labels[query]


def _coloured(
    frame: NDArray[np.float64], attended: NDArray[np.bool_], query: tuple[int, int] | None
) -> NDArray[np.float64]:
    grey = frame.mean(axis=2, keepdims=True) * 0.3 + 0.65
    mask = np.kron(attended, np.ones((PATCH, PATCH))).astype(bool)[..., None]
    picture = np.where(mask, 0.4 * frame + 0.6 * KEY_COLOUR, np.broadcast_to(grey, frame.shape))
    if query is not None:
        y, x = (PATCH * q for q in query)
        picture[y : y + PATCH, x : x + PATCH] = 0.25 * frame[y : y + PATCH, x : x + PATCH] + 0.75 * QUERY_COLOUR
    return picture


def _frames(video: Path | None) -> NDArray[np.float64]:
    """Two frames (2, H, W, 3) in [0, 1]: of a video, or of a generated clip."""
    side = GRID[1] * PATCH
    if video is None:
        clip = render(DemoConfig(size=side, motion=30.0), "val", 8, digit_pool("val"))
        return clip[[len(clip) // 2, len(clip) // 2 + 2]] / 255.0
    from far.trained.gradcam import load_clip

    config = TrialConfig.model_validate({"model": {"clip": [4, side, side]}})
    return load_clip(video, config).frames[[0, 2]] / 255.0


FIGURES.register("patterns")(FigureSpec(draw, "Attention patterns (the paper's Figure 2)", needs_results=False))
