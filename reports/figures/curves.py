"""Learning curves: validation accuracy and training loss by epoch, a line per row, a band over its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from far.errors import DataError
from far.store.paths import TrialPaths
from far.store.records import read_epochs
from reports.figures import FIGURES, Drawing, FigureSpec, Options, shown_rows
from reports.figures.style import HEIGHT, PAGE, legend_below, legend_label, look, seeds_text, titled
from reports.results.results import Results, RowResults
from reports.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (("val_top1", "validation top-1 (%)"), ("train_loss", "training loss"))
MARKERS_PER_LINE = 12
"""More would hide the line."""


def history(row: RowResults, name: str) -> dict[int, list[float]]:
    """Return a metric by epoch, one value per trial that has reached it: of those that count or still run."""
    found: dict[int, dict[str, float]] = {}
    for trial in row.on_their_way:
        if trial.directory is not None:
            for record in read_epochs(TrialPaths(trial.directory)):
                value = record.get(name)
                if isinstance(value, int | float) and math.isfinite(value):
                    found.setdefault(int(record["epoch"]) + 1, {})[trial.key] = float(value)
    return {epoch: list(values.values()) for epoch, values in sorted(found.items())}


def draw(results: Results | None, options: Options) -> Drawing:
    """Draw both panels; the band is from the lowest to the highest seed."""
    import matplotlib.pyplot as plt

    assert results is not None
    figure, axes = plt.subplots(1, len(PANELS), figsize=(PAGE, HEIGHT))
    last: list[str] = []
    counts: set[int] = set()
    labels: dict[str, str] = {}
    for axis, (name, label) in zip(axes, PANELS, strict=True):
        for index, row in enumerate(shown_rows(results, options)):
            epochs = history(row, name)
            if not epochs:
                continue
            seeds = {epoch: len(values) for epoch, values in epochs.items()}
            counts |= set(seeds.values())
            labels.setdefault(row.name, f"{legend_label(row.name)} ({counted(seeds)})")
            _plot(axis, index, epochs, labels[row.name])
            end = max(epochs)
            last += (
                [f"{row.name} {number(float(np.mean(epochs[end])), 1)} % after epoch {end}"]
                if name == "val_top1"
                else []
            )
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
    if not counts:
        raise DataError("no trial has finished an epoch; there is nothing to draw")
    legend_below(figure)
    caption = "Mean over seeds, whose number the key says."
    if max(counts) > 1:
        caption += " Band: from the lowest to the highest seed."
    if len(counts) > 1:
        caption += " Hollow: a point of fewer seeds than the row has elsewhere."
    alt = f"Validation top-1 and training loss by epoch, of {seeds_text(counts)}. {'; '.join(last)}."
    return Drawing(figure, titled(results, width=100), caption, alt)


def _plot(axis: Axes, index: int, epochs: Mapping[int, Sequence[float]], label: str) -> None:
    x, style = np.array(list(epochs)), look(index)
    sizes = np.array([len(values) for values in epochs.values()])
    means = np.array([np.mean(values) for values in epochs.values()])
    axis.plot(x, means, markersize=3, markevery=max(1, len(x) // MARKERS_PER_LINE), label=label, **style)  # type: ignore[arg-type]
    few = sizes < sizes.max()
    hollow = {**style, "linestyle": "none", "markerfacecolor": "white"}
    axis.plot(x[few], means[few], markersize=4, **hollow)  # type: ignore[arg-type]
    low, high = ([f(values) for values in epochs.values()] for f in (min, max))
    axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def counted(seeds: Mapping[int, int]) -> str:
    """Return how many seeds each epoch's point has: ``3 seeds``, or ``3 seeds to epoch 4, then 1``."""
    numbers = list(seeds.values())
    text = seeds_text(numbers[:1])
    for (epoch, before), now in zip(seeds.items(), numbers[1:], strict=False):
        if now != before:
            text += f" to epoch {epoch}, then {now}"
    return text


FIGURES.register("curves")(FigureSpec(draw, "Learning curves", wide=True))
