"""Figures, one small module each; a new one is a function registered under its name."""

from __future__ import annotations

import importlib
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    quoted: bool = False
    """Whether the rows of other works that the study quotes are drawn too."""
    most_classes: int = 30
    """Classes shown at most: those that differ most, at both ends."""
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
class Drawing:
    """A figure with the words that go with it.

    Attributes:
        figure: without a title.
        title: above a picture that stands alone: the study, and at what scale it ran.
        caption: how to read it, and what it leaves out.
        alt: what it shows, for those who do not see it.
    """

    figure: Figure
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class FigureSpec:
    """How to draw one figure: ``draw`` takes the results of a study, or None where ``needs_results`` is false."""

    draw: Callable[[Results | None, Options], Drawing]
    title: str
    needs_results: bool = True
    rows: Callable[[Results, Options], Sequence[RowResults]] = shown_rows
    """Which rows are drawn."""
    draws_quoted: bool = False
    """Whether it can draw the rows of other works that a study quotes."""
    wide: bool = False
    """Whether it takes the width of a page rather than of a column."""


FIGURES: Registry[FigureSpec] = Registry("figure", accepts=instance_of(FigureSpec))
NUMBERS = {"2": "patterns", "6": "explain", "7": "explain"}
"""The paper's numbers of figures; 6 and 7 are ``farlab explain``."""
MOST_NAMED = 6
"""Trials that are named under a figure; more are counted."""
CHARACTERS = 15
"""Of such a note on an inch."""

for _module in ("patterns", "pareto", "curves", "classes", "order"):
    importlib.import_module(f"{__name__}.{_module}")


def drawn(name: str, results: Results | None, options: Options) -> Drawing:
    """Draw a figure, and say with it which trials of its rows stand in no number.

    Raises:
        ConfigError: the options ask for what there is not.
        DataError: there is nothing to draw.
    """
    spec = FIGURES[name]
    drawing = spec.draw(results, options)
    return with_left_out(drawing, () if results is None else spec.rows(results, options))


def with_left_out(drawing: Drawing, rows: Sequence[RowResults]) -> Drawing:
    """Return a drawing that says which trials of these rows stand in no number."""
    if not (said := _left_out(rows)):
        return drawing
    width = int(drawing.figure.get_figwidth() * CHARACTERS)
    title = "\n".join(filter(None, (drawing.title, textwrap.fill(said, width))))
    return replace(drawing, title=title, caption=f"{drawing.caption} L{said[1:]}.")


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


def draws_quoted(name: str) -> bool:
    """Return whether a figure, by its name, can draw the rows of other works that a study quotes."""
    return name in FIGURES and FIGURES[name].draws_quoted
