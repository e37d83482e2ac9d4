"""From results to a table in the paper's layout: measured columns first, the paper's own beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from far.text import rounded
from reports import paper
from reports.analysis.comparison import compare_rows
from reports.paper import PaperRow, PaperTable
from reports.results.results import Results
from reports.results.state import State
from reports.tables.cells import COSTS, METRICS, decimals_of
from reports.tables.footnotes import note_letters, scale_warning, table_notes
from reports.tables.lines import Line, join_lines, measured_columns
from reports.tables.model import Cell, Column, Origin, Row, Table
from reports.tables.quoted import quoted_columns, quoted_lines

ROW_HEADER = "Row"
"""Above the names of rows where neither the study nor the paper says what they are."""
PAPER_TITLES = {"top1": "Top-1 (%)", "top5": "Top-5 (%)", "flops": "FLOPS (G)", "params": "Param (M)"}


def build_table(results: Results) -> Table:
    """Lay out a study: as the paper's table if it reproduces one, else in the same form without its columns.

    Args:
        results: the plan joined with what has finished.
    """
    printed, papers = paper.rows_printed(results.table, [row.name for row in results.rows])
    comparison = compare_rows(results)
    decimals = {name: decimals_of(results.rows, name) for name in COSTS}
    letters = note_letters()
    lines, marked = join_lines(results, papers, comparison, letters, decimals)
    quoted, sources = quoted_lines(results, letters, "row")
    rows = best_marked([_row(line, line.name == results.baseline) for line in _in_order(lines, printed)])
    columns = [_names(results, printed if papers else None), *measured_columns(comparison)]
    return Table(
        key=str(results.table) if papers else results.study,
        number=results.table if papers else None,
        study=results.study,
        caption=results.title or (printed.title if printed and papers else results.study),
        columns=(*columns, *(_paper_columns(printed) if printed and papers else ()), *quoted_columns(results)),
        rows=(*_ruled(rows, printed, papers), *quoted),
        profile=results.profile,
        warning=scale_warning(results),
        notes=(*marked, *sources, *table_notes(results, printed, papers, comparison)),
        provenance={"study": str(results.path or results.study), "store": str(results.store or "")},
    )


def _in_order(lines: Mapping[str, Line], printed: PaperTable | None) -> list[Line]:
    """Return the lines in the paper's order; rows of the study's own come after them."""
    order = {row.name: index for index, row in enumerate(printed.rows)} if printed else {}
    return sorted(lines.values(), key=lambda line: order[line.paper.name] if line.paper else len(order))


def _names(results: Results, printed: PaperTable | None) -> Column:
    return Column("row", results.row_header or (printed.label_columns[0] if printed else ROW_HEADER), Origin.LABEL)


def _paper_columns(printed: PaperTable) -> list[Column]:
    numbers = [paper.METRIC_OF_COLUMN.get(title) for title in printed.columns]
    return [Column(f"paper_{n}", PAPER_TITLES[n], Origin.PAPER) for n in numbers if n in PAPER_TITLES]


def _row(line: Line, is_baseline: bool) -> Row:
    return Row(
        name=line.name,
        cells={"row": Cell(line.name), **line.cells()},
        state=line.state,
        default=is_baseline,
        seeds=tuple(trial.seed for trial in line.results.planned),
        data=line.data(),
    )


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


def _ruled(rows: Sequence[Row], printed: PaperTable | None, about: Mapping[str, PaperRow]) -> list[Row]:
    """Ask for a rule where the paper draws one between compartments."""
    after = printed.facts.ruled_after if printed else ()
    ruled = {i + 1 for i, row in enumerate(rows) if row.name in about and about[row.name].name in after}
    return [replace(row, ruled=index in ruled) for index, row in enumerate(rows)]
