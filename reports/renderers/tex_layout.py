"""How a table fits the width of a page of LaTeX: in smaller type, with texts on several lines, or in parts.

Widths are estimated from Computer Modern, the widest of the usual text fonts, so that what fits here fits there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from reports.renderers.tex import LONG, MARKS
from reports.tables.model import Cell, Column, Origin, Row, Table

# fmt: off
_CMR8 = (
    354, 295, 531, 885, 531, 885, 826, 295, 413, 413, 531, 826, 295, 354, 295, 531, 531, 531, 531, 531, 531, 531,
    531, 531, 531, 531, 295, 295, 502, 826, 502, 502, 826, 796, 752, 767, 811, 723, 693, 834, 796, 383, 545, 825,
    664, 973, 796, 826, 723, 826, 782, 590, 767, 796, 796, 1091, 796, 796, 649, 295, 531, 295, 531, 885, 295, 531,
    590, 472, 590, 472, 325, 531, 590, 295, 325, 561, 295, 885, 590, 531, 590, 561, 414, 419, 413, 590, 561, 767,
    561, 561, 472, 531, 295, 531, 531,
)
"""Widths of the characters 32 to 126 of cmr8, in thousandths of its size (``tftopl cmr8.tfm``)."""
# fmt: on
SIZES = {8.0: 1.0, 7.0: 1.072}
"""Sizes of type in points, and how much wider than cmr8 a font is drawn for that size."""
BOLD = 1.2
SEPARATION = 3.0
"""Points on either side of a column (``tabcolsep``)."""
MARGIN = 1.02
"""Estimates are taken for so much more."""
NAME = ""
"""Key of the cells that hold a row's whole name."""
HEADING = 70.0
"""Points within which the heading of labels stays on one line."""
LEAST = 45.0
"""Points that a text on several lines gets at least."""


@dataclass(frozen=True)
class Part:
    """Columns that stand side by side.

    Attributes:
        columns: the columns.
        size: of the type, in points.
        wrapped: widths, in points, of the columns whose texts take several lines.
        heads: lines of each heading.
        spans: first and last column (from 1) of each run of columns of one origin, and the lines above it.
    """

    columns: tuple[Column, ...]
    size: float
    wrapped: dict[str, float]
    heads: dict[str, list[str]]
    spans: list[tuple[int, int, list[str]]]


def parts_of(table: Table, width: float) -> list[Part]:
    """Lay a table out in as few parts as it takes, in the larger type if that takes no more.

    Args:
        table: the table.
        width: in points.
    """
    table = named_rows(table)
    for size in SIZES:
        if (whole := _fitted(table, table.columns, size, width, wrap=False)) is not None:
            return [whole]
    ways = [_split(table, size, width) for size in SIZES]
    return min(ways, key=len)


def text_width(text: str, size: float) -> float:
    """Estimate the width of a text in points."""
    return sum(map(_width, text)) / 1000 * size * SIZES[size] * MARGIN


def _width(character: str) -> int:
    if " " <= character <= "~":
        return _CMR8[ord(character) - 32]
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 1100
    base = unicodedata.normalize("NFD", character)[0]
    return _CMR8[ord(base) - 32] if " " <= base <= "~" else 900


def named_rows(table: Table) -> Table:
    """Return the table with each row's whole name in a cell, for the parts after the first."""

    def named(row: Row) -> Row:
        label = table.cell(row, table.columns[0])
        return replace(row, cells={**row.cells, NAME: replace(label, value=row.name)})

    return replace(table, rows=tuple(named(row) for row in table.rows))


def rows_of(table: Table, part: Part) -> list[Row]:
    """Return the rows of a part: all in the first, later those that have something in its columns."""
    if part.columns[0].key != NAME:
        return [*table.rows]
    return [row for row in table.rows if any(not table.cell(row, column).is_empty for column in part.columns[1:])]


def _split(table: Table, size: float, width: float) -> list[Part]:
    """Lay a table out in parts, about as wide as each other where that takes no more of them."""
    parts = _filled(table, size, width, width)
    for share in (0.5, 0.6, 0.7, 0.8, 0.9):
        even = _filled(table, size, width, share * width)
        if len(even) == len(parts):
            return even
    return parts


def _filled(table: Table, size: float, width: float, enough: float) -> list[Part]:
    """Fill one part after the other until it is wide enough, the first one beside all labels."""
    rest = [column for column in table.columns if column.origin is not Origin.LABEL]
    labels = [column for column in table.columns if column.origin is Origin.LABEL]
    if rest and _fitted(table, [*labels, rest[0]], size, width) is None:
        rest = [column for column in table.columns if column is not labels[0]]
        labels = labels[:1]
    sets: list[list[Column]] = []
    for column in rest:
        if sets and _fitted(table, [*sets[-1], column], size, enough) is not None:
            sets[-1].append(column)
        else:
            first = labels if not sets else [Column(NAME, table.columns[0].title, Origin.LABEL)]
            sets.append([*first, column])
    return [
        _fitted(table, columns, size, width) or _squeezed(table, columns, size, width) for columns in sets or [labels]
    ]


def _fitted(table: Table, columns: Sequence[Column], size: float, width: float, *, wrap: bool = True) -> Part | None:
    """Return these columns side by side, None where they are too wide."""
    natural = {column.key: _column_width(table, column, size) for column in columns}
    least = {c.key: _least(table, c, size, natural[c.key]) if wrap else natural[c.key] for c in columns}
    room = width - 2 * SEPARATION * (len(columns) - 1)
    room -= _excess(table, columns, natural, size)
    if sum(least.values()) > room:
        return None
    spare = room - sum(least.values())
    wrapped = {}
    for key in sorted(natural, key=lambda key: natural[key] - least[key]):
        more = natural[key] - least[key]
        waiting = sum(natural[other] - least[other] > 0 for other in natural if other not in wrapped)
        if more > 0:
            given = min(more, spare / max(waiting, 1))
            spare -= given
            if given < more:
                wrapped[key] = least[key] + given
    return _part(table, columns, size, wrapped, natural)


def _squeezed(table: Table, columns: Sequence[Column], size: float, width: float) -> Part:
    """Return columns side by side whatever their words are: texts share what numbers leave."""
    natural = {column.key: _column_width(table, column, size) for column in columns}
    texts = [column.key for column in columns if is_text(table, column)]
    room = width - 2 * SEPARATION * (len(columns) - 1) - sum(natural[key] for key in natural if key not in texts)
    return _part(table, columns, size, {key: max(room / max(len(texts), 1), LEAST) for key in texts}, natural)


def _part(
    table: Table, columns: Sequence[Column], size: float, wrapped: dict[str, float], natural: dict[str, float]
) -> Part:
    widths = natural | wrapped
    heads = {column.key: stacked(column.title, widths[column.key], size) for column in columns}
    spans = []
    first = 1
    for origin, run in groupby(columns, key=lambda column: column.origin):
        keys = [column.key for column in run]
        text = table.origin_title(origin)
        above = stacked(text[:1].upper() + text[1:], _together(keys, widths), size)
        spans.append((first, first + len(keys) - 1, above))
        first += len(keys)
    return Part(tuple(columns), size, wrapped, heads, spans)


def _together(keys: Sequence[str], widths: dict[str, float]) -> float:
    return sum(widths[key] for key in keys) + 2 * SEPARATION * (len(keys) - 1)


def _column_width(table: Table, column: Column, size: float) -> float:
    cells = [cell_width(table.cell(row, column), size) for row in table.rows]
    title = [text_width(word, size) for word in words(column.title)]
    if column.origin is Origin.LABEL:
        title.append(min(text_width(column.title, size), HEADING))
    return max([*cells, *title], default=0.0)


def cell_width(cell: Cell, size: float) -> float:
    """Estimate the width of a cell in points, its marks and citation included."""
    marks = text_width(",".join(cell.marks), size) * 0.8 + text_width(cell.cite, size) * 0.6
    return text_width(cell.text, size) * (BOLD if cell.best else 1) + marks


def _least(table: Table, column: Column, size: float, natural: float) -> float:
    """Return the width in points below which a column does not go: a text that of its longest word."""
    if not is_text(table, column):
        return natural
    texts = [column.title, *(table.cell(row, column).text for row in table.rows)]
    longest = max((text_width(word, size) for text in texts for word in words(text)), default=0.0)
    return min(natural, max(longest + text_width("mm", size), LEAST))


def _excess(table: Table, columns: Sequence[Column], natural: dict[str, float], size: float) -> float:
    """Return by how much the words above the columns are wider than these."""
    more = 0.0
    for origin, run in groupby(columns, key=lambda column: column.origin):
        keys = [column.key for column in run]
        heading = max((text_width(word, size) for word in words(table.origin_title(origin))), default=0.0)
        more += max(0.0, heading - _together(keys, natural))
    return more


def is_text(table: Table, column: Column) -> bool:
    """Whether a column holds texts, which may take several lines, rather than numbers."""
    if column.origin is Origin.LABEL:
        return True
    values = [table.cell(row, column).value for row in table.rows]
    return any(isinstance(value, str) and " " in value for value in values) and not any(
        isinstance(value, int | float) for value in values
    )


def words(text: str) -> Iterable[str]:
    """Yield what stays on one line: words, and pieces of those that are long enough to be broken."""
    for word in text.split():
        yield from _pieces(word)


def _pieces(word: str) -> list[str]:
    if len(word) <= LONG:
        return [word]
    marks = re.escape(MARKS)
    pieces = re.findall(rf"[^{marks}]*[{marks}]?", word)
    return [piece[at : at + LONG] for piece in pieces for at in range(0, len(piece), LONG)]


def stacked(text: str, width: float, size: float) -> list[str]:
    """Break a heading into lines of this width in points, or of its longest word."""
    lines: list[str] = []
    for word in text.split():
        for index, piece in enumerate(_pieces(word)):
            longer = f"{lines[-1]}{'' if index else ' '}{piece}" if lines else piece
            if lines and text_width(longer, size) > width:
                lines.append(piece)
            else:
                lines[-1:] = [longer]
    return lines or [""]


def rules_before(rows: Sequence[Row]) -> list[bool]:
    """Return before which rows a rule is drawn: where it is asked for, and between compartments."""
    groups = ["", *(row.group for row in rows)]
    return [
        row.ruled or (index > 0 and bool(row.group) and groups[index] != row.group) for index, row in enumerate(rows)
    ]
