"""A row of a study with all that a table says of it: joined once, then laid out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from reports.analysis.comparison import Comparison
from reports.paper import PaperRow
from reports.results.results import Results, RowResults
from reports.results.state import State
from reports.tables import differences
from reports.tables.cells import (
    COSTS,
    METRICS,
    accuracy_cell,
    average,
    cost_cell,
    cost_data,
    coverage_cell,
    decimals_of,
    own_metric_cell,
    own_metrics,
    paper_cell,
    views_cell,
)
from reports.tables.footnotes import row_notes
from reports.tables.model import Cell, Column, Note


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        results: its trials.
        paper: the paper's row that it is, if any.
        comparison: of the table's rows; None: nothing is compared.
        marks: letters of the notes about its trials.
        decimals: of the costs; None: as many as they take.
    """

    results: RowResults
    paper: PaperRow | None = None
    comparison: Comparison | None = None
    marks: tuple[str, ...] = ()
    decimals: Mapping[str, int] | None = None

    @property
    def name(self) -> str:
        """As the study names it."""
        return self.results.name

    @property
    def state(self) -> State:
        """Of the row as a whole."""
        return self.results.state

    def cells(self) -> dict[str, Cell]:
        """Return what was measured, and the paper's numbers."""
        row, finished = self.results, len(self.results.finished)
        cells = {name: accuracy_cell(row, name, self.marks if name == "top1" else ()) for name in METRICS}
        cells |= {name: own_metric_cell(row, name) for name in own_metrics()}
        for name in COSTS:
            cells[name] = cost_cell(row, name, (self.decimals or {}).get(name, decimals_of([row], name)))
        cells["n"] = Cell(str(finished) if self.state is State.FINISHED else f"{finished}/{len(row.planned)}")
        if self.comparison:
            cells |= differences.cells(self.comparison, self.name, self.state)
        cells |= {"coverage": coverage_cell(row), "views": views_cell(row)}
        if self.paper:
            cells |= {f"paper_{name}": paper_cell(self.paper.numbers.get(name)) for name in (*METRICS, *COSTS)}
        return cells

    def data(self) -> dict[str, object]:
        """Return the row for machines: means and deviations unrounded, costs as exact integers."""
        metrics = {
            name: average(list(self.results.by_seed(name).values())) for name in (*METRICS, "loss", *own_metrics())
        }
        return {
            "row": self.name,
            "metrics": metrics,
            **cost_data(self.results),
            "delta": {"top1": differences.data(self.comparison, self.name)} if self.comparison else None,
            "pairs": differences.pairs_data(self.comparison, self.name) if self.comparison else [],
            "paper": dict(self.paper.numbers) if self.paper else None,
            "state": self.state.value,
            "seeds": {
                str(t.seed): {"key": t.key, "state": t.state.value, **({"why": t.why} if t.why else {})}
                for t in self.results.planned
            },
        }


def join_lines(
    results: Results,
    papers: Mapping[str, PaperRow],
    comparison: Comparison | None,
    letters: Iterator[str],
    decimals: Mapping[str, int] | None = None,
) -> tuple[dict[str, Line], list[Note]]:
    """Join a study's rows with all that is known of them.

    Args:
        results: of the study.
        papers: the paper's row of each row that the paper has.
        comparison: of the rows.
        letters: that no note of the table bears yet.
        decimals: of the costs; None: those that each row takes alone.

    Returns:
        The lines by name, and the notes that they are marked with.
    """
    marks, notes = row_notes(results, letters)
    lines = {
        row.name: Line(row, papers.get(row.name), comparison, marks.get(row.name, ()), decimals) for row in results.rows
    }
    return lines, notes


def measured_columns(comparison: Comparison | None, costs: Collection[str] = tuple(COSTS)) -> list[Column]:
    """Return the columns of what was measured."""
    return [
        *(Column(name, title) for name, title in METRICS.items()),
        *(Column(name, name) for name in own_metrics()),
        *differences.columns(comparison),
        *(Column(name, COSTS[name][0]) for name in costs),
        Column("n", "seeds", foldable=True),
        Column("coverage", "evaluated/expected videos", foldable=True),
        Column("views", "views (frames × clips × crops)", foldable=True),
    ]
