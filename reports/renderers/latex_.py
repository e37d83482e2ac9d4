"""LaTeX that compiles with booktabs alone and fits the width that it is written for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from far.errors import ConfigError
from far.text import rounded
from reports.renderers import RENDERERS
from reports.renderers.templates import fill
from reports.renderers.tex import CYRILLIC, Engine, described, is_raw, named, prose, unsettable
from reports.renderers.tex_layout import (
    Part,
    cell_width,
    is_text,
    named_rows,
    parts_of,
    rows_of,
    rules_before,
    text_width,
)
from reports.tables.model import Cell, Column, Origin, Row, Table, folded

WIDTHS = {"text": 345.0, "column": 219.0, "page": 494.0}
"""Points of the text of article, and of two-column classes: the narrowest usual column (ACL; article has 229,
CVPR 237, ACM 241, IEEE 252), and both columns (CVPR), for ``table*``."""
WIDER = 3.0
"""Points by which siunitx sets a column wider."""
TALLEST = 470.0
"""Points of a table, under which notes would run off a page of article (550)."""
DEVIATIONS = "separate-uncertainty,table-align-uncertainty=false,retain-zero-uncertainty"
"""How siunitx writes a number and its deviation."""
UNITS = {"pt": 1.0, "in": 72.27, "cm": 72.27 / 2.54, "mm": 72.27 / 25.4}


@dataclass(frozen=True)
class Style:
    r"""What the class and the engine at hand want.

    Attributes:
        width: a name of ``WIDTHS``, or a length such as ``219pt`` or ``8.4cm``.
        engine: the TeX that must set all characters.
        siunitx: align numbers with siunitx's ``S`` columns.
        caption: ``above`` the table, or ``below``.
    """

    width: str = "text"
    engine: str = Engine.PDFLATEX
    siunitx: bool = False
    caption: str = "above"

    def __post_init__(self) -> None:
        for name, values in (("engine", list(Engine)), ("caption", ["above", "below"])):
            value = getattr(self, name)
            if value not in values:
                raise ConfigError(f"unknown value '{value}'", key=f"--latex-{name}", choices=values, got=value)
        if self.width not in WIDTHS:
            _points(self.width)

    @property
    def points(self) -> float:
        """The width in points."""
        return WIDTHS.get(self.width) or _points(self.width)

    @property
    def environment(self) -> str:
        """``table``, or ``table*`` for one across both columns."""
        return "table*" if self.width == "page" else "table"


def _points(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(pt|in|cm|mm)", text)
    points = float(found[1]) * UNITS[found[2]] if found else 0.0
    if points < 100:
        raise ConfigError(
            f"'{text}' is no width of a table, which is a name or a length of 100pt or more (8.4cm, 3.25in)",
            key="--latex-width",
            choices=WIDTHS,
            got=text,
        )
    return points


@RENDERERS.register("latex")
def render(tables: Sequence[Table], **choices: Any) -> str:
    r"""Return ``table`` environments to ``\input``; the preamble needs ``\usepackage{booktabs}``.

    Args:
        tables: the tables.
        choices: fields of ``Style``.

    Raises:
        ConfigError: the engine cannot set a character of a name, a heading or a caption.
    """
    style = Style(**choices)
    tables = [folded(table) for table in tables]
    _refuse_unsettable(tables, style.engine)
    return "\n".join(_environment(table, style) for table in tables)


def _environment(table: Table, style: Style) -> str:
    wider = WIDER * len(table.columns) if style.siunitx else 0.0
    parts = [_Part(table, part, style) for part in parts_of(table, style.points - wider)]
    above = table.warning or (f"Profile {table.profile}." if table.profile else "")
    notes = [(note.mark, prose(note.text, style.engine)) for note in table.notes]
    caption = named(f"{table.caption}. ", style.engine).removesuffix(r"\ ").rstrip()
    said = " ".join([caption, prose(above, style.engine), *(text for _, text in notes), *(p.text for p in parts)])
    packages = ["booktabs"] + ["siunitx"] * any("S[" in part.spec for part in parts)
    needs = rf"\usepackage{{{','.join(packages)}}}"
    if CYRILLIC.search(said) and style.engine == Engine.PDFLATEX:
        needs += r" and, for Cyrillic, \usepackage[T2A,T1]{fontenc}"
    return fill(
        "table.tex.jinja",
        table=table,
        title=prose(f"{table.title} Profile {table.profile}." if table.profile else table.title, style.engine),
        needs=needs,
        environment=style.environment,
        lost=is_raw(said) or _ACCENT.search(said) is not None,
        below=style.caption == "below",
        caption=f"{caption} {prose(above, style.engine)}".rstrip(),
        parts=parts,
        notes=notes,
        is_tall=bool(notes) and _height(table, parts, [caption, above], style) > TALLEST,
    )


def _height(table: Table, parts: Sequence[_Part], above: Sequence[str], style: Style) -> float:
    """Estimate the height of a table in points, with what stands above and under it."""
    width = style.points
    lines = sum(text_width(text, 8.0) / 8 * 10 for text in above) / width + 2
    height = 12 * lines + 8.4 * (sum(text_width(note.text, 7.0) for note in table.notes) / width * 1.1 + 2)
    for part in parts:
        heads = max((len(lines) for lines in part.part.heads.values()), default=1)
        height += 1.2 * part.part.size * (heads + 2 + part.height) + 20
    return height


_ACCENT = re.compile(r"""\\[`'^"=~.]\{|\\[urvHdbck]\{""")


class _Part:
    """The lines of a ``tabular``."""

    def __init__(self, table: Table, part: Part, style: Style) -> None:
        self.table, self.part, self.style = named_rows(table), part, style
        self.size, self.leading = f"{part.size:g}", f"{1.2 * part.size:g}"
        formats = {c.key: _number_format(table, c) for c in part.columns} if style.siunitx else {}
        self.numeric = {key: found for key, found in formats.items() if found}
        self.spec = "".join(self._column(column) for column in part.columns)
        self.spans, self.rules = self._spans()
        self.heads = " & ".join(self._head(column) for column in part.columns)
        self.height = 0
        self.lines = list(self._lines())
        self.text = " ".join([self.spans, self.heads, *self.lines])

    def _column(self, column: Column) -> str:
        if column.key in self.numeric:
            return f"S[{self.numeric[column.key]}]"
        return "l" if column.origin is Origin.LABEL or column.key in self.part.wrapped else "r"

    def _spans(self) -> tuple[str, str]:
        cells, rules = [], []
        for first, last, lines in self.part.spans:
            if any(lines):
                cells.append(rf"\multicolumn{{{last - first + 1}}}{{c}}{{{self._stack(lines, 'c')}}}")
                rules.append(rf"\cmidrule(lr){{{first}-{last}}}")
            else:
                cells.append("&" * (last - first))
        return " & ".join(cells), "".join(rules)

    def _head(self, column: Column) -> str:
        text = self._stack(self.part.heads[column.key], "l" if column.origin is Origin.LABEL else "r")
        return f"{{{text}}}" if column.key in self.numeric else text

    def _stack(self, lines: Sequence[str], side: str) -> str:
        texts = [named(line, self.style.engine) for line in lines]
        return (
            texts[0]
            if len(texts) == 1
            else rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}" + "\\\\".join(texts) + r"\end{tabular}"
        )

    def _lines(self) -> Any:
        rows = rows_of(self.table, self.part)
        group = ""
        for row, rule in zip(rows, rules_before(rows), strict=True):
            if rule:
                yield r"\midrule"
            if row.group and row.group != group:
                text = rf"\textit{{{named(row.group, self.style.engine)}}}"
                if text_width(row.group, self.part.size) > self.style.points:
                    text = self._wrapped(text, self.style.points)
                yield rf"\multicolumn{{{len(self.part.columns)}}}{{@{{}}l@{{}}}}{{{text}}} \\"
            group = row.group
            self.height += 1 + max(
                (
                    int(cell_width(self.table.cell(row, column), self.part.size) / points)
                    for column, points in self._narrow()
                ),
                default=0,
            )
            yield " & ".join(self._cell(row, column) for column in self.part.columns) + r" \\"

    def _narrow(self) -> list[tuple[Column, float]]:
        """Return the columns whose texts take several lines, with their widths."""
        return [
            (column, self.part.wrapped[column.key]) for column in self.part.columns if column.key in self.part.wrapped
        ]

    def _cell(self, row: Row, column: Column) -> str:
        cell = self.table.cell(row, column)
        if column.key in self.numeric and _is_plain(cell):
            return _number(cell)
        marks = rf"\textsuperscript{{{','.join(cell.marks)}}}" if cell.marks else ""
        text = named(cell.text, self.style.engine)
        if row.default and column is self.part.columns[0]:
            text = rf"\textit{{{text}}}"
        if cell.best:
            text = rf"\textbf{{{text}}}"
        text += (rf"~\cite{{{cell.cite}}}" if cell.cite else "") + marks
        if column.key in self.part.wrapped:
            points = self.part.wrapped[column.key]
            return self._wrapped(text, points) if cell_width(cell, self.part.size) > points else text
        return f"{{{text}}}" if column.key in self.numeric else text

    def _wrapped(self, text: str, points: float) -> str:
        return rf"\parbox[t]{{{rounded(points, 1)}pt}}{{\raggedright {text}\strut}}"


def _is_plain(cell: Cell) -> bool:
    """Whether a cell is a number, with its deviation at most, which siunitx reads and has room for."""
    is_more = cell.interval is not None or cell.stars or cell.marks or "(" in cell.text
    return isinstance(cell.value, int | float) and not is_more


def _number(cell: Cell) -> str:
    text = cell.text.replace("±", r"\pm").replace("−", "-")
    return rf"\bfseries {text}" if cell.best else text


def _number_format(table: Table, column: Column) -> str:
    """Return siunitx's format of a column; empty where it has no number that siunitx could align."""
    cells = [cell for row in table.rows if _is_plain(cell := table.cell(row, column))]
    if not cells or column.origin is Origin.LABEL or is_text(table, column):
        return ""
    numbers = [cell.text.split(" ± ") for cell in cells]
    whole = max(len(each[0].lstrip("+−").split(".")[0]) for each in numbers)
    decimals = max(cell.decimals for cell in cells)
    sign = "+" if any(each[0][0] in "+−" for each in numbers) else ""
    shown = f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
    if all(len(each) == 1 for each in numbers):
        return f"table-format={shown},detect-weight"
    return f"table-format={shown}(1),{DEVIATIONS},detect-weight"


def _refuse_unsettable(tables: Sequence[Table], engine: str) -> None:
    found: dict[str, str] = {}
    for table in tables:
        places = [("the caption", table.caption), *(("a heading", column.title) for column in table.columns)]
        for row in table.rows:
            places += [("a compartment's name", row.group)]
            places += [(f"row '{row.name}'", table.cell(row, column).text) for column in table.columns]
        for place, text in places:
            for characters in unsettable(text, engine):
                found.setdefault(characters, place)
    if found:
        said = "; ".join(f"{described(characters)} in {place}" for characters, place in found.items())
        raise ConfigError(
            f"pdfLaTeX cannot set {said}: give it another name, or say --latex-engine xelatex (or lualatex) and use a "
            "font that has it",
            key="--format latex",
        )
