"""Rows of other works that a study quotes: their columns, their rows, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from reports.results.results import Results
from reports.results.state import State
from reports.tables.cells import COSTS, METRICS, average
from reports.tables.model import Cell, Column, Note, Origin, Row

GROUP = "quoted"
"""The compartment of these rows."""
TITLES = {**METRICS, **{name: title for name, (title, _) in COSTS.items()}}


def quoted_columns(results: Results) -> list[Column]:
    """Return a column for each number that some quoted row has."""
    return [
        Column(f"quoted_{name}", title, Origin.QUOTED)
        for name, title in TITLES.items()
        if any(name in row for row in results.quoted.values())
    ]


def quoted_lines(results: Results, letters: Iterator[str], label: str) -> tuple[list[Row], list[Note]]:
    """Lay out the quoted rows, and a note about each.

    Args:
        results: of the study.
        letters: that no note of the table bears yet.
        label: key of the column of names.
    """
    rows, notes = [], []
    for name, row in results.quoted.items():
        mark = next(letters, "*")
        source = source_of(row)
        cells = {label: Cell(name, marks=(mark,), cite=row.get("cite", ""))}
        for metric in TITLES:
            if metric in row:
                cells[f"quoted_{metric}"] = Cell(row[metric], decimals=_decimals(row[metric]), source=source)
        data: dict[str, object] = {
            "row": name,
            "group": GROUP,
            "metrics": {metric: average([]) for metric in METRICS},
            "flops": None,
            "params": None,
            "delta": None,
            "pairs": [],
            "paper": None,
            "quoted": dict(row),
            "state": State.UNREPORTED.value,
            "seeds": {},
        }
        rows.append(Row(name, cells, State.UNREPORTED, group=GROUP, data=data))
        notes.append(
            Note(f"{name}: as reported by {source}; nothing of it was run here.", mark, link=row.get("url", ""))
        )
    return rows, notes


def source_of(row: Mapping[str, Any]) -> str:
    """Return where a quoted row's numbers come from and what they were measured on."""
    work = row.get("source") or row.get("cite") or ""
    cited = f"[{row['cite']}]" if row.get("source") and row.get("cite") else ""
    where = ", ".join(filter(None, (f"{work} {cited}".strip(), row.get("url", ""))))
    return f"{where} ({row['setting']})"


def _decimals(value: float) -> int:
    """Return as many decimals as were quoted, at least one."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(1, -exponent) if isinstance(exponent, int) else 1
