"""Accuracy against FLOPs, with the Pareto front: rows that no other row beats in both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from far.errors import DataError
from reports.figures import FIGURES, FigureSpec, Options, shown_rows
from reports.figures.style import COLUMN, legend_label, look, titled
from reports.results.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, accuracy) that no other beats, by rising cost."""
    best, kept = float("-inf"), []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            best = points[index][1]
            kept.append(index)
    return kept


def draw(results: Results | None, options: Options) -> Figure:
    """Draw each row's mean with its deviation over seeds."""
    import matplotlib.pyplot as plt

    assert results is not None
    points, names, spreads = [], [], []
    for row in shown_rows(results, options):
        values, costs = list(row.by_seed(options.metric).values()), {t.flops for t in row.finished} - {None}
        if values and len(costs) == 1:
            points.append((float(costs.pop() or 0) / 1e9, statistics.fmean(values)))
            spreads.append(statistics.stdev(values) if len(values) > 1 else 0.0)
            names.append(row.name)
    if not points:
        raise DataError("no row has finished; there is nothing to draw")
    figure, axis = plt.subplots(figsize=(COLUMN * 1.25, COLUMN))
    for index, (name, (cost, accuracy), spread) in enumerate(zip(names, points, spreads, strict=True)):
        style = {**look(index), "linestyle": "none"}
        axis.errorbar(cost, accuracy, yerr=spread or None, capsize=2, label=legend_label(name), **style)  # type: ignore[arg-type]
    kept = front(points)
    axis.plot(*zip(*(points[i] for i in kept), strict=True), color="0.5", linewidth=1, zorder=0, label="Pareto front")
    title = {"top1": "Top-1 (%)", "top5": "Top-5 (%)"}[options.metric]
    axis.set(xlabel="FLOPs (G) of one clip", ylabel=f"{title}, mean ± std over seeds")
    axis.set_title(titled(results))
    axis.margins(0.15)
    axis.locator_params(axis="x", nbins=5)
    axis.legend(loc="best")
    return figure


FIGURES.register("pareto")(FigureSpec(draw, "Accuracy against FLOPs"))
