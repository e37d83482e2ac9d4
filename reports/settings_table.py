"""Table 1: the paper's fine-tuning settings, and where a shipped profile departs from them."""

from __future__ import annotations

from typing import Any

from reports import paper
from reports.table import Cell, Column, Note, Origin, Row, State, Table


def build_settings() -> Table:
    """Lay out Table 1."""
    title, headers, rows = paper.recipe_table()
    columns = [Column(f"c{i}", header, Origin.PAPER if i else Origin.LABEL) for i, header in enumerate(headers)]
    laid = [
        Row(
            str(row[0]),
            {f"c{i}": Cell(_setting(value)) for i, value in enumerate(row)},
            State.FINISHED,
            data={"row": row[0], "paper": dict(zip(headers[1:], row[1:], strict=True)), "state": "finished"},
        )
        for row in rows
    ]
    return Table(
        "1",
        title,
        tuple(columns),
        tuple(laid),
        profile="",
        notes=(Note("S: ViT-S, B: ViT-B. Settings of the paper; farlab train --dry-run shows those of a profile."),),
    )


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_setting(inner)} ({name})" for name, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"({', '.join(_setting(inner) for inner in value)})"
    return f"{value:g}" if isinstance(value, float) else str(value)
