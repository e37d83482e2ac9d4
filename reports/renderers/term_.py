"""A terminal's table (rich): as wide as the terminal, colour only where it is shown."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from far.text import printable
from orchestrator.cli.console import PlainConsole, make_console
from reports.renderers import RENDERERS
from reports.results.state import State
from reports.tables.model import Cell, Column, Origin, Table, folded

STYLE = {
    State.FINISHED: "",
    State.PARTIAL: "yellow",
    State.RUNNING: "cyan",
    State.MISSING: "yellow",
    State.FAILED: "red",
    State.DIVERGED: "red",
    State.INCOMPARABLE: "magenta",
    State.STALE: "magenta",
    State.INVALID: "magenta",
    State.UNREPORTED: "dim",
}

OTHERS = (Origin.PAPER, Origin.QUOTED)
"""Whose numbers are not one's own."""


class _Buffer(io.StringIO):
    """Text on its way to standard output: rules are drawn with what that can show."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return sys.stdout.encoding or "utf-8"


@RENDERERS.register("term")
def render(tables: Sequence[Table]) -> str:
    """Draw the tables; piped output is as wide as it needs to be, so that nothing is cut."""
    buffer = _Buffer()
    console = make_console(buffer, colours=sys.stdout.isatty() or None, wrap=True)
    for index, table in enumerate(tables):
        if index:
            console.print()
        _print(console, folded(table))
    return buffer.getvalue()


def _print(console: PlainConsole, table: Table) -> None:
    console.print(_plain(table.title, "bold"), _plain(f"Profile {table.profile}." if table.profile else ""))
    if table.warning:
        console.print(_plain(table.warning, "yellow"))
    for columns in _blocks(console, table):
        console.print(_drawn(table, columns))
    for note in table.notes:
        mark = f"[{note.mark}] " if note.mark else ""
        console.print(_plain(f"{mark}{note.text}", "dim"))


def _blocks(console: PlainConsole, table: Table) -> list[Sequence[Column]]:
    """Return all columns together or, where the terminal is too narrow, as many at a time as fit beside the labels."""

    def fits(columns: Sequence[Column]) -> bool:
        options = console.options.update(width=10_000)
        return console.measure(_drawn(table, columns), options=options).maximum <= console.width

    if fits(table.columns):
        return [table.columns]
    labels = [column for column in table.columns if column.origin is Origin.LABEL]
    blocks: list[list[Column]] = []
    for column in table.columns:
        if column.origin is Origin.LABEL:
            continue
        last = blocks[-1] if blocks else None
        if last and last[-1].origin is column.origin and fits([*last, column]):
            last.append(column)
        else:
            blocks.append([*labels, column])
    return [*blocks]


def _drawn(table: Table, columns: Sequence[Column]) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        above = table.profile if column.origin is Origin.MEASURED else table.origin_title(column.origin)
        drawn.add_column(
            _plain(f"{above}\n{column.title}", "dim italic" if column.origin in OTHERS else ""),
            justify="left" if column.origin is Origin.LABEL else "right",
            style="dim italic" if column.origin in OTHERS else "",
            overflow="fold",
        )
    group = ""
    for row in table.rows:
        if row.ruled or row.group != group:
            drawn.add_section()
        if row.group != group:
            group = row.group
            drawn.add_row(_plain(group, "italic"))
        drawn.add_row(
            *[_text(table.cell(row, column)) for column in columns],
            style="on grey15" if row.default else "",
        )
    return drawn


def _plain(text: str, style: str = "") -> Text:
    """Return text as it will be seen, so that columns are as wide as what stands in them."""
    return Text(printable(text), style=style)


def _text(cell: Cell) -> Text:
    style = STYLE[cell.state] + (" bold" if cell.best else "")
    marks = f" [{','.join(cell.marks)}]" if cell.marks else ""
    text = f"**{cell.text}**" if cell.best and not _colours() else cell.text
    return _plain(text + marks, style.strip())


def _colours() -> bool:
    return sys.stdout.isatty()
