"""Learning curves: validation accuracy and training loss by epoch, a line per row, a band over its seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from far.errors import DataError
from far.store.paths import TrialPaths
from far.store.records import read_epochs
from reports.figures import FIGURES, FigureSpec, Options, shown_rows
from reports.figures.style import PAGE, legend_label, look, titled
from reports.results.results import Results, RowResults

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = (("val_top1", "validation top-1 (%)"), ("train_loss", "training loss"))


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


def draw(results: Results | None, options: Options) -> Figure:
    """Draw both panels; the band is from the lowest to the highest seed."""
    import matplotlib.pyplot as plt

    assert results is not None
    figure, axes = plt.subplots(1, len(PANELS), figsize=(PAGE, PAGE * 0.36))
    anything = False
    for axis, (name, label) in zip(axes, PANELS, strict=True):
        for index, row in enumerate(shown_rows(results, options)):
            epochs = history(row, name)
            if not epochs:
                continue
            anything = True
            x = np.array(list(epochs))
            style = look(index)
            axis.plot(x, [np.mean(v) for v in epochs.values()], markersize=3, label=legend_label(row.name), **style)
            low, high = ([f(v) for v in epochs.values()] for f in (min, max))
            axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
    if not anything:
        raise DataError("no trial has finished an epoch; there is nothing to draw")
    axes[0].legend(loc="best")
    figure.suptitle(titled(results, "; band: all seeds", width=100), fontsize=9)
    return figure


FIGURES.register("curves")(FigureSpec(draw, "Learning curves"))
