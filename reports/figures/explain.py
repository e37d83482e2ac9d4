"""Figures 6 and 7: Grad-CAM of several trained rows over the same frames, with the softmax score of the class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from far.errors import ConfigError, DataError
from far.text import rounded
from reports.figures.classes import class_names
from reports.figures.style import PAGE
from reports.results.results import Results, RowResults
from reports.results.trials import TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURMAP = "jet"
"""As in the paper: red is high attention, blue is low."""
OPACITY = 0.45


def draw(
    results: Results,
    videos: Sequence[Path],
    rows: Sequence[str],
    *,
    seed: int | None = None,
    target: int | None = None,
    frames: int = 8,
) -> Figure:
    """Draw, for each video, its frames and below them each row's heat over the same frames.

    Raises:
        ConfigError: a row or class does not exist.
        DataError: a row has no finished trial.
        WeightsError: a trial has no checkpoint any more.
        VideoError: a video cannot be read.
    """
    import matplotlib.pyplot as plt

    from far.trained.gradcam import explain, load_clip
    from far.trained.network import load_trained

    chosen = [results.row(name) for name in rows] if rows else [row for row in results.rows if row.finished]
    trials = [_trial(row, seed) for row in chosen]
    if not trials:
        raise DataError("no row has finished; there is nothing to explain")
    networks = [load_trained(trial.directory) for trial in trials if trial.directory is not None]
    names = class_names(results, networks[0].classes)
    if target is not None and target >= len(names):
        raise ConfigError(f"there are {len(names)} classes", key="--class", got=target, choices=range(len(names)))
    lines = len(videos) * (1 + len(networks))
    width = PAGE / (frames + 1.6)
    figure, axes = plt.subplots(lines, frames, figsize=(PAGE, lines * width * 1.12), squeeze=False)
    for number, video in enumerate(videos):
        top = number * (1 + len(networks))
        clip = load_clip(video, networks[0].config)
        shown = np.linspace(0, len(clip.frames) - 1, frames).round().astype(int)
        _strip(axes[top], [clip.frames[i] for i in shown], video.stem)
        for line, (row, network) in enumerate(zip(chosen, networks, strict=True), start=top + 1):
            found = explain(network, load_clip(video, network.config), target)
            score = float(found.probabilities[found.target])
            _strip(axes[line], [_over(clip.frames[i], found.heat[i]) for i in shown],
                   f"{row.name}\n{names[found.target]}\nP = {rounded(score, 2)}")  # fmt: skip
    figure.suptitle(f"Grad-CAM, red is high (profile {results.profile}; P: softmax score)", fontsize=9)
    return figure


def _trial(row: RowResults, seed: int | None) -> TrialRecord:
    having = [trial for trial in row.finished if seed is None or trial.seed == seed]
    if not having:
        raise DataError(f"row '{row.name}' has no finished trial{'' if seed is None else f' of seed {seed}'}")
    return having[0]


def _over(frame: Any, heat: Any) -> Any:
    """Lay a heat map (H, W) in [0, 1] over a frame (H, W, 3)."""
    import matplotlib

    colours = matplotlib.colormaps[COLOURMAP](heat)[..., :3]
    return (1 - OPACITY) * frame / 255.0 + OPACITY * colours


def _strip(axes: Any, pictures: Sequence[Any], label: str) -> None:
    for axis, picture in zip(axes, pictures, strict=True):
        axis.imshow(picture)
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        for side in axis.spines.values():
            side.set_visible(False)
    axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7)
