"""Figures, one small module each; a new one is a function registered under its name."""

from __future__ import annotations

import importlib
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from far.registry import Registry, instance_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.results.results import Results, RowResults


@dataclass(frozen=True)
class Options:
    """What a figure may be asked for beside the results."""

    rows: tuple[str, ...] = ()
    video: Path | None = None
    metric: str = "top1"
    data_root: Path = Path("data")
    weights_root: Path = Path("weights")


def shown_rows(results: Results, options: Options) -> Sequence[RowResults]:
    """Return the rows that were asked for, in the study's order; all if none was.

    Raises:
        ConfigError: the study has no such row.
    """
    wanted = {results.row(name).name for name in options.rows}
    return [row for row in results.rows if row.name in wanted] if wanted else results.rows


@dataclass(frozen=True)
class FigureSpec:
    """How to draw one figure: ``draw`` takes the results of a study, or None where ``needs_results`` is false."""

    draw: Callable[[Results | None, Options], Figure]
    title: str
    needs_results: bool = True
    rows: Callable[[Results, Options], Sequence[RowResults]] = shown_rows
    """Which rows are drawn."""


FIGURES: Registry[FigureSpec] = Registry("figure", accepts=instance_of(FigureSpec))
NUMBERS = {"2": "patterns", "6": "explain", "7": "explain"}
"""The paper's numbers of figures; 6 and 7 are ``farlab explain``."""
MOST_NAMED = 6
"""Trials that are named under a figure; more are counted."""
CHARACTERS = 22
"""Of such a note on an inch."""

for _module in ("patterns", "pareto", "curves", "classes", "order"):
    importlib.import_module(f"{__name__}.{_module}")


def drawn(name: str, results: Results | None, options: Options) -> Figure:
    """Draw a figure, and say under it which trials of its rows stand in no number.

    Raises:
        ConfigError: the options ask for what there is not.
        DataError: there is nothing to draw.
    """
    spec = FIGURES[name]
    figure = spec.draw(results, options)
    if results is not None and (said := _left_out(spec.rows(results, options))):
        width = int(figure.get_figwidth() * CHARACTERS)
        figure.supxlabel(textwrap.fill(said, width), fontsize=6)
    return figure


def _left_out(rows: Sequence[RowResults]) -> str:
    trials = [trial for row in rows for trial in row.left_out]
    said = [f"{trial.row} seed {trial.seed} ({trial.state.value})" for trial in trials]
    if len(said) > MOST_NAMED:
        states = Counter(trial.state.value for trial in trials)
        said = [f"{count} trials ({state})" for state, count in states.items()]
    return f"left out: {', '.join(said)}" if said else ""


def names() -> Sequence[str]:
    """Names and numbers that ``farlab figure`` takes."""
    return ["2", *FIGURES]


def needs_results(name: str) -> bool:
    """Return whether a figure, by its name or the paper's number, is drawn from results; True for what is none."""
    known = NUMBERS.get(name, name)
    return known not in FIGURES or FIGURES[known].needs_results
