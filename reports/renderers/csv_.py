"""CSV: one line per row; averages, deviations, seeds, states and comparability in columns of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from far.text import printable
from reports.renderers import RENDERERS
from reports.tables.cells import METRICS
from reports.tables.model import Cell, Column, Origin, Table


@RENDERERS.register("csv")
def render(tables: Sequence[Table]) -> str:
    """Several tables follow each other, told apart by the first column."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for table in tables:
        fields = [field for column in table.columns for field in _names(column)]
        writer.writerow(["table", "profile", *fields, "state", "comparable", "warning"])
        marks = ["no" if table.warning else "yes", _safe(table.warning)]
        for row in table.rows:
            values = [v for column in table.columns for v in _values(column, table.cell(row, column))]
            writer.writerow([table.key, table.profile, *values, row.state.value, *marks])
    return buffer.getvalue()


def _names(column: Column) -> list[str]:
    names = [column.key]
    if column.key in METRICS:
        names += [f"{column.key}_std", f"{column.key}_n"]
    if column.key.startswith("delta"):
        names += [f"{column.key}_low", f"{column.key}_high"]
    return names


def _safe(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula, and a control character from ending the line."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _values(column: Column, cell: Cell) -> list[object]:
    value = "" if cell.value is None else cell.value
    values: list[object] = [_safe(value) if isinstance(value, str) and column.origin is Origin.LABEL else value]
    if column.key in METRICS:
        values += ["" if cell.std is None else cell.std, len(cell.values)]
    if column.key.startswith("delta"):
        values += list(cell.interval or ("", ""))
    return values
