"""Cells from a row's trials: averages over seeds, costs, coverage, views."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from far.evaluate import metrics
from far.plugins import plugin_of
from reports.results.results import RowResults
from reports.results.state import State
from reports.shown import can_be_opened_elsewhere
from reports.tables.model import Cell
from reports.text import number

METRICS = {"top1": "Top-1 (%)", "top5": "Top-5 (%)"}
"""Accuracies of a row, in the paper's order."""

COSTS: dict[str, tuple[str, Callable[[int], float]]] = {
    "flops": ("FLOPs (G)", lambda count: count / 1e9),
    "params": ("Params (M)", lambda count: count / 1e6),
}
"""Costs of the model that ran, in the paper's units."""


def accuracy_cell(line: RowResults, metric: str, marks: tuple[str, ...] = ()) -> Cell:
    """Mean and sample standard deviation over the finished seeds; a single seed has no deviation."""
    values = tuple(line.by_seed(metric).values())
    if not values:
        return Cell(state=line.state if line.state is not State.FINISHED else State.MISSING, marks=marks)
    return Cell(
        value=statistics.fmean(values),
        std=deviation(values),
        state=line.state if len(values) == len(line.planned) else State.PARTIAL,
        values=values,
        expected=len(line.planned),
        decimals=1,
        marks=marks,
        trials=tuple(trial.key for trial in line.finished),
        links=tuple((f"seed {t.seed}", t.link) for t in line.finished if t.link and can_be_opened_elsewhere(t.link)),
    )


def own_metrics() -> list[str]:
    """Return the metrics that plug-ins have registered: columns of their own beside the accuracies."""
    return [name for name in metrics.METRICS if plugin_of(metrics.METRICS.axis, name) is not None]


def own_metric_cell(line: RowResults, metric: str) -> Cell:
    """Mean and deviation of a plug-in's metric, with digits for its size."""
    cell = accuracy_cell(line, metric)
    largest = max(map(abs, cell.values), default=0.0)
    return replace(cell, decimals=1 if largest >= 10 else 2 if largest >= 1 else 3)


def _cost_values(rows: Sequence[RowResults], name: str) -> list[float]:
    """Return the different costs of all these trials, from the least."""
    counts: set[int | None] = {t.result.get(name) for row in rows for t in row.finished}
    return sorted(COSTS[name][1](count) for count in counts if count is not None)


def cost_cell(line: RowResults, name: str, decimals: int) -> Cell:
    """FLOPs (G) or parameters (M) of the model that ran; seeds that disagree are shown, not averaged."""
    values = _cost_values([line], name)
    keys = tuple(trial.key for trial in line.finished if trial.result.get(name) is not None)
    if not values:
        return Cell(state=line.state if line.state is not State.FINISHED else State.MISSING)
    if len(values) > 1:
        return Cell(" or ".join(number(v, decimals) for v in values), state=State.INCOMPARABLE, trials=keys)
    return Cell(values[0], decimals=decimals, trials=keys)


def cost_data(line: RowResults) -> dict[str, int | None]:
    """Costs of the model that ran as exact integers, for machines; None where nothing has, or its seeds disagree."""
    counts = {name: {t.result.get(name) for t in line.finished} - {None} for name in COSTS}
    return {name: found.pop() if len(found) == 1 else None for name, found in counts.items()}


def coverage_cell(line: RowResults) -> Cell:
    """Evaluated/expected videos, of all finished seeds together if they differ."""
    counts = {(t.result.get("evaluated"), t.result.get("expected")) for t in line.finished}
    return Cell(", ".join(sorted(f"{done}/{expected}" for done, expected in counts)) or None)


def views_cell(line: RowResults) -> Cell:
    """Frames × clips × crops at test time."""
    views = {trial.views for trial in line.finished if trial.views}
    return Cell(", ".join(" × ".join(str(n) for n in view) for view in sorted(views)) or None)


def paper_cell(value: float | None) -> Cell:
    """A number as the paper prints it."""
    return Cell(value, decimals=1) if value is not None else Cell(state=State.UNREPORTED)


def decimals_of(rows: Sequence[RowResults], name: str) -> int:
    """One decimal at the paper's scale; at demo scale, enough to tell rows apart."""
    largest = max(_cost_values(rows, name), default=0)
    return 1 if largest >= 10 or largest <= 0 else 2 if largest >= 1 else 4


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation; of a single value there is none."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def average(values: Sequence[float]) -> dict[str, object]:
    """Mean, sample deviation, n and the values by seed, for machines."""
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": deviation(values),
        "n": len(values),
        "values": list(values),
    }
