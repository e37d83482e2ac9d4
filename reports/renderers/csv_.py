"""CSV in long form: one line for each number of each row, however many tables there are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from far.text import printable
from reports.renderers import RENDERERS
from reports.tables.model import Cell, Column, Origin, Row, Table

HEADER = (
    "table",
    "row",
    "metric",
    "mean",
    "std",
    "n",
    "low",
    "high",
    "unit",
    "text",
    "origin",
    "group",
    "state",
    "study",
    "profile",
    "comparable",
    "warning",
)
UNITS = {"top1": "%", "top5": "%", "flops": "G", "params": "M", "delta_top1": "points", "effect_top1": "points"}
"""By metric, whoever reports it."""
NAMES = {"n": "seeds"}
"""Metrics whose key is the name of a column here."""
FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-].)", re.DOTALL)
"""What a spreadsheet would run as a formula; a sign alone it would not."""


@RENDERERS.register("csv")
def render(tables: Sequence[Table]) -> str:
    """One header, then a line for each cell that says something; an average has ``mean``, ``std`` and ``n``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = table.cell(row, column)
                is_name = column.origin is Origin.LABEL and cell.value == row.name
                if not cell.is_empty and not is_name:
                    writer.writerow(_line(table, row, column, cell))
    return buffer.getvalue()


def _line(table: Table, row: Row, column: Column, cell: Cell) -> list[object]:
    is_number = isinstance(cell.value, int | float)
    return [
        table.reference,
        quoted(row.name),
        NAMES.get(column.key, quoted(column.key)),
        cell.value if is_number else "",
        "" if cell.std is None else cell.std,
        len(cell.values) or "",
        *(cell.interval or ("", "")),
        _unit(column.key) if is_number else "",
        quoted(cell.value if isinstance(cell.value, str) else cell.source),
        column.origin.value,
        quoted(row.group),
        row.state.value,
        table.study,
        table.profile,
        "no" if table.warning else "yes",
        quoted(table.warning),
    ]


def _unit(metric: str) -> str:
    return UNITS.get(metric) or UNITS.get(metric.partition("_")[2], "")


def quoted(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula; no two texts become equal by it."""
    text = printable(text)
    return f"'{text}" if FORMULA.match(text) else text
