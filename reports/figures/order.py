"""How much a row relies on the order of frames: its accuracy with time reversed and with frames shuffled."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from far.errors import DataError, FarError
from far.evaluate.frame_order import ORDERS
from far.store.atomic import read_json, write_json
from far.store.paths import TrialPaths
from orchestrator.workspace.plugins import load_trial_plugins
from reports.figures import FIGURES, Drawing, FigureSpec, Options, shown_rows
from reports.figures.style import COLOURS, HEIGHT, PAGE, legend_below, seeds_text, titled
from reports.results.results import Results
from reports.results.trials import TrialRecord, name_trials
from reports.text import number

FILE = "order.json"
"""Beside the trial's other files: accuracy by order, measured once."""
HATCHES = ("", "//", "..")


@dataclass(frozen=True)
class Measured:
    """What the file holds.

    Attributes:
        finished_at: when the trial that was measured had finished.
        top1: its accuracy (%) by order of frames.
    """

    finished_at: str | None
    top1: Mapping[str, float]


def measured(trial: TrialRecord) -> dict[str, float] | None:
    """Return top-1 (%) by order of frames as it was kept with the trial; None if it was not, or of another attempt."""
    known = read_json(trial.directory / FILE, Measured) if trial.directory else None
    if not known or known["finished_at"] != trial.result.get("finished_at") or not known["top1"].keys() >= set(ORDERS):
        return None
    found = {name: float(known["top1"][name]) for name in ORDERS}
    return found if all(0 <= value <= 100 for value in found.values()) else None  # NaN, where the file is damaged


def sensitivity(trial: TrialRecord, data_root: Path) -> dict[str, float]:
    """Return top-1 (%) of a trained trial by order of frames; measured on first use, then kept with the trial.

    Raises:
        WeightsError: the trial has no checkpoint any more.
        DataError: its videos are not here.
    """
    if (kept := measured(trial)) is not None:
        return kept
    assert trial.directory is not None
    paths = TrialPaths(trial.directory)
    from far.trained.network import evaluate_trained, load_trained

    load_trial_plugins(paths.directory)
    trained = load_trained(paths.directory)
    scores = {
        name: evaluate_trained(trained, data_root=data_root, arrange=arrange)[1].top1
        for name, arrange in ORDERS.items()
    }
    write_json(paths.directory / FILE, asdict(Measured(trial.result.get("finished_at"), scores)))
    return scores


def draw(results: Results | None, options: Options) -> Drawing:
    """Draw a group of bars a row, one bar an order, with the deviation over seeds and the level of chance."""
    import matplotlib.pyplot as plt

    assert results is not None
    rows, problems, unmeasured = [], [], []
    for row in shown_rows(results, options):
        seeds = []
        for trial in row.finished:
            try:
                seeds.append(sensitivity(trial, options.data_root))
            except FarError as error:
                problems.append(str(error))
                unmeasured.append(trial)
        if seeds:
            rows.append((row.name, seeds))
    if not rows:
        raise DataError(problems[0] if problems else "no row has finished; there is nothing to measure")
    figure, axis = plt.subplots(figsize=(PAGE, HEIGHT))
    places, width = np.arange(len(rows)), 0.8 / len(ORDERS)
    for index, order in enumerate(ORDERS):
        values = [[seed[order] for seed in seeds] for _, seeds in rows]
        spread = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values]
        offset = (index - (len(ORDERS) - 1) / 2) * width
        axis.bar(places + offset, [np.mean(v) for v in values], width, yerr=spread, capsize=2, label=order,
                 color=COLOURS[index], hatch=HATCHES[index % len(HATCHES)], edgecolor="white")  # fmt: skip
    classes = next((t.setting("data", "classes") for t in results.finished), None)
    if classes:
        axis.axhline(100 / classes, color="black", linewidth=0.8, linestyle=":", label="chance")
    axis.set_xticks(places, [textwrap.fill(name, max(8, 90 // len(rows))) for name, _ in rows])
    axis.set(ylabel="top-1 (%)")
    axis.grid(visible=False, axis="x")
    legend_below(figure)
    counts = [len(seeds) for _, seeds in rows]
    spread_text = " ± sample standard deviation" if max(counts) > 1 else ""
    caption = f"Top-1 of the trained rows with their frames in another order, mean{spread_text} over "
    said = "; ".join(
        f"{name} "
        + ", ".join(f"{order} {number(float(np.mean([seed[order] for seed in seeds])), 1)} %" for order in ORDERS)
        for name, seeds in rows
    )
    caption += f"{seeds_text(counts)}."
    if unmeasured:
        caption += f" Not measured: {name_trials(unmeasured)}; {problems[0]}."
    return Drawing(figure, titled(results), caption, f"Top-1 by order of frames. {said}.")


FIGURES.register("order")(FigureSpec(draw, "Sensitivity to the order of frames", wide=True))
