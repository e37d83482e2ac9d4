"""Figures 6 and 7: Grad-CAM of several trained rows over the same frames, with the softmax score of the class."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from far.data.sources.demo_writer import directory_of
from far.data.sources.manifest import read_manifest
from far.data.sources.open import DEMO, locate
from far.errors import ConfigError, DataError
from orchestrator.workspace.plugins import load_trial_plugins
from reports.figures import Drawing, with_left_out
from reports.figures.class_names import class_names, find_class
from reports.figures.style import PAGE, bare
from reports.results.results import Results, RowResults
from reports.results.trials import TrialRecord
from reports.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from far.config import DataConfig
    from far.data.sources.manifest import Video
    from far.trained.gradcam import Clip, Explanation
    from far.trained.network import Trained

COLOURMAP = "jet"
"""As in the paper: red is high attention, blue is low."""
OPACITY = 0.45
LABEL, LETTERS = 2.2, 26
"""Of what stands beside the maps: its width in maps, and the characters of a line."""


@dataclass(frozen=True)
class Question:
    """What is asked of every row about one video.

    Attributes:
        target: the class whose evidence is shown.
        why: why this class.
        truth: name of the video's true class; empty where it is not known.
    """

    target: int
    why: str
    truth: str


def draw(
    results: Results,
    videos: Sequence[Path],
    rows: Sequence[str],
    *,
    seed: int | None = None,
    target: str | None = None,
    frames: int = 8,
    data_root: Path = Path("data"),
) -> Drawing:
    """Draw, for each video, its frames and below them each row's heat over the same frames, all for one class.

    Args:
        results: of the study.
        videos: files.
        rows: names; none: every row that has a finished trial.
        seed: of the trials; default: the first that all rows have.
        target: class by name or number; default: the video's true class, where a manifest knows it, else the class
            that the rows together find most likely.
        frames: shown of each clip.
        data_root: folder of data sets.

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
    lacking = [] if rows else [row for row in results.rows if not row.finished]
    trials = _trials(chosen, seed)
    names = class_names(trials, int(trials[0].setting("data", "classes") or 0), data_root)
    asked = None if target is None else find_class(target, names)
    for trial in trials:
        if trial.directory is not None:
            load_trial_plugins(trial.directory)
    networks = [load_trained(trial.directory) for trial in trials if trial.directory is not None]
    truths = _true_classes(videos, networks[0].config.data, data_root)
    lines = len(videos) * (1 + len(networks))
    width = PAGE / (frames + LABEL)
    figure, axes = plt.subplots(lines, frames, figsize=(PAGE, lines * width * 1.05 + 0.7), squeeze=False)
    said = []
    for index, video in enumerate(videos):
        top = index * (1 + len(networks))
        clip = load_clip(video, networks[0].config)
        shown = np.linspace(0, len(clip.frames) - 1, frames).round().astype(int)
        clips = [load_clip(video, network.config) for network in networks]
        question = _question(networks, clips, asked, truths[index], names)
        name = names[question.target]
        known = f"true: {question.truth}" if question.truth else "true class not known"
        _strip(axes[top], [clip.frames[i] for i in shown], [video.stem, known])
        scores = []
        for line, (trial, network, own) in enumerate(zip(trials, networks, clips, strict=True), start=top + 1):
            found = explain(network, own, question.target)
            label, score = _label(trial, found, names, len({t.seed for t in trials}) > 1)
            _strip(axes[line], [_over(clip.frames[i], found.heat[i]) for i in shown], label)
            scores.append(f"{trial.row} {number(score, 2)}")
        said.append(f"{video.stem}: {name} ({question.why}); P: {', '.join(scores)}")
    _key(figure, axes)
    seeds = sorted({trial.seed for trial in trials})
    title = f"Grad-CAM of one class per video, seed {', '.join(map(str, seeds))} (profile {results.profile})"
    caption = f"{'. '.join(said)}. Each map is scaled to its own maximum; P: softmax score of the class."
    return with_left_out(Drawing(figure, title, caption, caption), lacking)


def _trials(rows: Sequence[RowResults], seed: int | None) -> list[TrialRecord]:
    """Return a finished trial of each row, of the same seed where there is one that all have.

    Raises:
        DataError: a row has none.
    """
    for row in rows:
        if not any(seed in (None, trial.seed) for trial in row.finished):
            raise DataError(f"row '{row.name}' has no finished trial{'' if seed is None else f' of seed {seed}'}")
    if not rows:
        raise DataError("no row has finished; there is nothing to explain")
    shared = set.intersection(*({trial.seed for trial in row.finished} for row in rows))
    wanted = seed if seed is not None else min(shared, default=None)
    return [next(t for t in row.finished if wanted in (None, t.seed)) for row in rows]


def _true_classes(videos: Sequence[Path], data: DataConfig, data_root: Path) -> list[int | None]:
    """Return each video's class as the data set of the trials has it; None for a video that is none of it."""
    try:
        manifest = read_manifest(
            directory_of(data.demo, data_root) if data.source == DEMO else locate(data.source, data_root)
        )
    except (ConfigError, DataError):
        return [None] * len(videos)
    by_name: dict[str, list[Video]] = {}
    for each in manifest.videos:
        by_name.setdefault(each.path.rpartition("/")[2], []).append(each)
    found = []
    for video in videos:
        same = [v.label for v in by_name.get(video.name, ()) if manifest.file(v).resolve() == video.resolve()]
        found.append(next((label for label in same if label >= 0), None))
    return found


def _question(
    networks: Sequence[Trained], clips: Sequence[Clip], asked: int | None, truth: int | None, names: Sequence[str]
) -> Question:
    """Return which class all rows are asked about."""
    known = "" if truth is None else names[truth]
    if asked is not None:
        return Question(asked, "asked for", known)
    if truth is not None:
        return Question(truth, "the true class", known)
    from far.trained.gradcam import probabilities

    mean = np.mean([probabilities(network, clip) for network, clip in zip(networks, clips, strict=True)], axis=0)
    return Question(int(mean.argmax()), "what the rows together answer", known)


def _label(trial: TrialRecord, found: Explanation, names: Sequence[str], with_seed: bool) -> tuple[list[str], float]:
    """Return what stands beside a row's maps, and the score of the class."""
    score, answer = float(found.probabilities[found.target]), int(found.probabilities.argmax())
    lines = [f"{trial.row}, seed {trial.seed}" if with_seed else trial.row]
    lines.append(f"P({names[found.target]}) = {number(score, 2)}")
    if answer != found.target:
        lines.append(f"answers {names[answer]} ({number(float(found.probabilities[answer]), 2)})")
    if not found.heat.any():
        lines.append("no evidence for it")
    return lines, score


def _over(frame: Any, heat: Any) -> Any:
    """Lay a heat map (H, W) in [0, 1] over a frame (H, W, 3)."""
    import matplotlib

    colours = matplotlib.colormaps[COLOURMAP](heat)[..., :3]
    return (1 - OPACITY) * frame / 255.0 + OPACITY * colours


def _strip(axes: Any, pictures: Sequence[Any], label: Sequence[str]) -> None:
    for axis, picture in zip(axes, pictures, strict=True):
        axis.imshow(picture)
        bare(axis)
    text = "\n".join(textwrap.fill(line, LETTERS) for line in label)
    axes[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7)


def _key(figure: Figure, axes: Any) -> None:
    """Draw what the colours mean."""
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(
        ScalarMappable(cmap=COLOURMAP), ax=axes, location="bottom", shrink=0.35, aspect=30, alpha=OPACITY, pad=0.02
    )
    bar.set_ticks([0, 1], labels=["no evidence", "the map's own maximum"])
    bar.outline.set_visible(False)
