"""The columns of a table that were asked for (``--columns``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from far.errors import ConfigError
from reports.tables.cells import COSTS, METRICS
from reports.tables.model import Cell, Column, Origin, Row, Table

ALIASES = {"delta": "delta_top1", "Δ": "delta_top1", "pairs": "pairs_top1", "seeds": "n"}
"""What a column may be called beside its key."""
LATER = ("delta_top1", "verdict", "pairs_top1", *METRICS, *COSTS, "n", "coverage", "views")
"""Columns that a table of results has once its trials have finished."""


def read_columns(text: str) -> tuple[str, ...]:
    """Read names that are separated by commas.

    Raises:
        ConfigError: one is empty, or is given twice.
    """
    names = [part.strip() for part in text.split(",")]
    keys = [ALIASES.get(name, name) for name in names]
    for index, key in enumerate(keys):
        if not key or key in keys[:index]:
            raise ConfigError(f"'{names[index]}' is named twice" if key else "a name is empty", key="--columns")
    return tuple(keys)


def choose_columns(tables: Sequence[Table], keys: Sequence[str]) -> list[Table]:
    """Return the tables with these columns alone, in this order; tables that have none of them stay whole.

    Args:
        tables: as laid out.
        keys: of columns; empty: all. The columns that name a row always stay, unless some of these are named.

    Raises:
        ConfigError: no table has, or will have, a column that is asked for.
    """
    if not keys:
        return [*tables]
    here = [column.key for table in tables for column in table.columns]
    known = list(dict.fromkeys([*here, *(LATER if any(table.source for table in tables) else ())]))
    for key in keys:
        if key not in known:
            raise ConfigError(f"no table here has a column '{key}'", key="--columns", choices=known, got=key)
    has = [{column.key for column in table.columns} & {*keys} for table in tables]
    return [with_columns(table, keys) if any_ else table for table, any_ in zip(tables, has, strict=True)]


def with_columns(table: Table, keys: Sequence[str]) -> Table:
    """Return a table with the columns that it has of these; marks on a column that is left out go to the row's name."""
    by_key = {column.key: column for column in table.columns}
    also = [f"quoted_{key}" for key in keys]  # of the rows that others have measured
    asked = [by_key[key] for key in dict.fromkeys([*keys, *also]) if key in by_key]
    labels = [column for column in table.columns if column.origin is Origin.LABEL]
    named = {column.key for column in asked if column.origin is Origin.LABEL} | {table.columns[0].key}
    if len(named) == 1:
        named = {column.key for column in labels}
    columns = (*(c for c in labels if c.key in named), *(c for c in asked if c.origin is not Origin.LABEL))
    rows = tuple(_row(row, columns) for row in table.rows)
    shown = [column.key for column in columns]
    notes = [note for note in table.notes if not note.about or any(key.startswith(note.about) for key in shown)]
    return replace(table, columns=columns, rows=rows, notes=tuple(notes), chosen=tuple(keys))


def _row(row: Row, columns: Sequence[Column]) -> Row:
    shown = {column.key for column in columns}
    lost = [mark for key, cell in row.cells.items() if key not in shown for mark in cell.marks]
    first = row.cells.get(columns[0].key, Cell())
    return replace(row, cells={**row.cells, columns[0].key: replace(first, marks=(*first.marks, *lost))})
