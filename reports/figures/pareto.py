"""Accuracy against FLOPs, with the Pareto front: rows that no other row beats in both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from far.errors import DataError
from reports.figures import FIGURES, Drawing, FigureSpec, Options, shown_rows
from reports.figures.style import COLUMN, HEIGHT, legend_below, legend_label, look, seeds_text, titled
from reports.results.results import Results
from reports.text import number


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, accuracy) that no other beats, by rising cost."""
    best, kept = float("-inf"), []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            best = points[index][1]
            kept.append(index)
    return kept


def draw(results: Results | None, options: Options) -> Drawing:
    """Draw each row's mean with its deviation over seeds."""
    import matplotlib.pyplot as plt

    assert results is not None
    points, names, samples = [], [], []
    for row in shown_rows(results, options):
        values, costs = list(row.by_seed(options.metric).values()), {t.flops for t in row.finished} - {None}
        if values and len(costs) == 1:
            points.append((float(costs.pop() or 0) / 1e9, statistics.fmean(values)))
            samples.append(values)
            names.append(row.name)
    if not points:
        raise DataError("no row has finished; there is nothing to draw")
    figure, axis = plt.subplots(figsize=(COLUMN, HEIGHT))
    for index, (name, (cost, accuracy), values) in enumerate(zip(names, points, samples, strict=True)):
        style = {**look(index), "linestyle": "none"}
        spread = statistics.stdev(values) if len(values) > 1 else None
        axis.errorbar(cost, accuracy, yerr=spread, capsize=2, label=legend_label(name), **style)  # type: ignore[arg-type]
    others = _quoted(results, options) if options.quoted else {}
    for index, (name, point) in enumerate(others.items(), start=len(names)):
        hollow: dict[str, Any] = {**look(index), "linestyle": "none", "markerfacecolor": "none", "color": "0.4"}
        axis.plot(*point, label=legend_label(f"{name} (quoted)"), **hollow)
    kept = front(points)
    if len(kept) > 1:
        line = zip(*(points[i] for i in kept), strict=True)
        axis.plot(*line, color="0.5", linewidth=1, zorder=0, label="Pareto front")
    title = {"top1": "Top-1", "top5": "Top-5"}[options.metric]
    axis.set(xlabel="FLOPs of one clip (G)", ylabel=f"{title} (%)")
    axis.margins(0.12)
    axis.locator_params(axis="x", nbins=5)
    legend_below(figure, handle=1.0)
    counts = [len(values) for values in samples]
    spread_text = " ± sample standard deviation" if max(counts) > 1 else ""
    caption = (
        f"{title} of each row, mean{spread_text} over {seeds_text(counts)}, against multiply-accumulates per clip."
    )
    if len(kept) > 1:
        caption += " Grey: the Pareto front, rows that no other beats in both."
    if others:
        caption += " Hollow: as other works report them; nothing of these was run here."
    said = "; ".join(f"{n} {number(y, 1)} % at {x:.4g} G" for n, (x, y) in zip(names, points, strict=True))
    best = f"No other row beats in both: {', '.join(names[i] for i in kept)}."
    return Drawing(figure, titled(results), caption, f"{title} against FLOPs. {said}. {best}")


def _quoted(results: Results, options: Options) -> dict[str, tuple[float, float]]:
    """Return cost and accuracy of the quoted rows that have both.

    Raises:
        DataError: none has.
    """
    rows = {name: row for name, row in results.quoted.items() if "flops" in row and options.metric in row}
    if not rows:
        raise DataError(f"no quoted row has both flops and {options.metric}")
    return {name: (row["flops"], row[options.metric]) for name, row in rows.items()}


FIGURES.register("pareto")(FigureSpec(draw, "Accuracy against FLOPs", draws_quoted=True))
