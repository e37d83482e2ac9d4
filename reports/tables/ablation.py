"""From results to a table in the paper's layout: measured columns first, the paper's own beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from far.text import rounded
from reports import paper
from reports.analysis.comparison import Comparison, compare_rows
from reports.paper import PaperRow, PaperTable
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
    paper_cell,
    views_cell,
)
from reports.tables.footnotes import row_notes, scale_warning, table_notes
from reports.tables.model import Cell, Column, Origin, Row, Table

ROW_HEADER = "Row"
"""Above the names of rows where neither the study nor the paper says what they are."""
PAPER_TITLES = {"top1": "Top-1 (%)", "top5": "Top-5 (%)", "flops": "FLOPS (G)", "params": "Param (M)"}


def build_table(results: Results) -> Table:
    """Lay out a study: as the paper's table if it reproduces one, else in the same form without its columns.

    Args:
        results: the plan joined with what has finished.
    """
    printed = paper.printed_table(results.table)
    about = printed.rows_of([row.name for row in results.rows]) if printed else {}
    comparison = compare_rows(results)
    lines = _lines(results, printed, about)
    costs = {name: decimals_of(results.rows, name) for name in COSTS}
    rows = [_row(results, line, about.get(line.name), costs, comparison) for line in lines]
    marks, marked = row_notes(results)
    rows = best_marked([_with_marks(row, marks.get(row.name, ())) for row in rows])
    return Table(
        key=str(results.table) if about else results.study,
        number=results.table if about else None,
        study=results.study,
        caption=results.title or (printed.title if printed and about else results.study),
        columns=tuple(_columns(results, printed, about, comparison)),
        rows=tuple(_ruled(rows, printed, about)),
        profile=results.profile,
        warning=scale_warning(results),
        notes=(*marked, *table_notes(results, printed, about, comparison)),
        provenance={"study": str(results.path or results.study), "store": str(results.store or "")},
    )


def _lines(results: Results, printed: PaperTable | None, about: Mapping[str, PaperRow]) -> list[RowResults]:
    """Return the rows in the paper's order; rows of the study's own come after them."""
    order = {row.name: index for index, row in enumerate(printed.rows)} if printed else {}
    return sorted(results.rows, key=lambda row: order[about[row.name].name] if row.name in about else len(order))


def _columns(
    results: Results, printed: PaperTable | None, about: Mapping[str, PaperRow], comparison: Comparison | None
) -> list[Column]:
    head = results.row_header or (printed.label_columns[0] if printed and about else ROW_HEADER)
    columns = [Column("row", head, Origin.LABEL)]
    columns += [Column(name, title) for name, title in METRICS.items()]
    columns += differences.columns(comparison)
    columns += [Column(name, title) for name, (title, _) in COSTS.items()]
    columns += [
        Column("n", "seeds", foldable=True),
        Column("coverage", "evaluated/expected videos", foldable=True),
        Column("views", "views (frames × clips × crops)", foldable=True),
    ]
    if printed and about:
        numbers = [paper.METRIC_OF_COLUMN.get(title) for title in printed.columns]
        columns += [Column(f"paper_{n}", PAPER_TITLES[n], Origin.PAPER) for n in numbers if n in PAPER_TITLES]
    return columns


def _row(
    results: Results,
    line: RowResults,
    about: PaperRow | None,
    costs: dict[str, int],
    comparison: Comparison | None,
) -> Row:
    cells = {"row": Cell(line.name)}
    cells |= {name: accuracy_cell(line, name) for name in METRICS}
    cells |= {name: cost_cell(line, name, decimals) for name, decimals in costs.items()}
    cells["n"] = Cell(
        f"{len(line.finished)}/{len(line.planned)}" if line.state is not State.FINISHED else str(len(line.finished))
    )
    if comparison:
        cells |= differences.cells(comparison, line.name, line.state)
    cells["coverage"] = coverage_cell(line)
    cells["views"] = views_cell(line)
    if about:
        for name in PAPER_TITLES:
            cells[f"paper_{name}"] = paper_cell(about.numbers.get(name))
    return Row(
        name=line.name,
        cells=cells,
        state=line.state,
        default=line.name == results.baseline,
        seeds=tuple(trial.seed for trial in line.planned),
        data=_data(line, about, comparison),
    )


def _data(line: RowResults, about: PaperRow | None, comparison: Comparison | None) -> dict[str, object]:
    """The row for machines: means and deviations unrounded, costs as exact integers."""
    metrics = {name: average(list(line.by_seed(name).values())) for name in (*METRICS, "loss")}
    return {
        "row": line.name,
        "metrics": metrics,
        **cost_data(line),
        "delta": {"top1": differences.data(comparison, line.name)} if comparison else None,
        "pairs": differences.pairs_data(comparison, line.name) if comparison else [],
        "paper": dict(about.numbers) if about else None,
        "state": line.state.value,
        "seeds": {
            str(t.seed): {"key": t.key, "state": t.state.value, **({"why": t.why} if t.why else {})}
            for t in line.planned
        },
    }


def best_marked(rows: Sequence[Row]) -> list[Row]:
    """Mark the highest accuracy of each column among complete rows (all that print the same digits)."""
    marked = list(rows)
    for metric in METRICS:
        complete = {i: c for i, r in enumerate(rows) if (c := r.cells.get(metric)) and c.state is State.FINISHED}
        numbers = {i: rounded(c.value, c.decimals) for i, c in complete.items() if isinstance(c.value, float)}
        if len(set(numbers.values())) < 2:
            continue  # nothing to tell apart
        for index, value in numbers.items():
            if value == max(numbers.values()):
                row = marked[index]
                best = replace(row.cells[metric], best=True)
                marked[index] = replace(row, cells={**row.cells, metric: best})
    return marked


def _with_marks(row: Row, marks: Sequence[str]) -> Row:
    if not marks:
        return row
    return replace(row, cells={**row.cells, "top1": replace(row.cells["top1"], marks=tuple(marks))})


def _ruled(rows: Sequence[Row], printed: PaperTable | None, about: Mapping[str, PaperRow]) -> list[Row]:
    """Ask for a rule where the paper draws one between compartments."""
    after = printed.facts.ruled_after if printed else ()
    ruled = {i + 1 for i, row in enumerate(rows) if row.name in about and about[row.name].name in after}
    return [replace(row, ruled=index in ruled) for index, row in enumerate(rows)]
