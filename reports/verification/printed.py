"""What a document says, read back: the texts of each of its tables by their place, whatever the format.

The same reader serves whoever seals a document, whoever verifies it, and what a table would say if it were made again,
so that two of them can be compared text by text.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from far.registry import Registry
from reports.tables.model import Origin

MARK = "farlab"
"""Before a record in a comment, and the name of the attribute, column or key that holds one."""
ATTRIBUTE = f"data-{MARK}"
BREAK = r"\allowbreak{}"
"""Where LaTeX may break a word."""
TRIALS = "trials"
"""The column of CSV that names a row's trials."""


@dataclass
class PrintedTable:
    """The texts of one table of a document.

    Attributes:
        title: everything above the table: caption, profile, warning.
        columns: headings.
        rows: by name (a name that stands twice has ``#2`` added), the row's texts by column.
        notes: the lines under the table.
        record: JSON text of its record, None where it has none.
        trials: what a column of trials says, by row; only CSV has one.
    """

    title: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    record: str | None = None
    trials: dict[str, str] = field(default_factory=dict)

    def add(self, cells: Sequence[str]) -> None:
        """Add a row; cells beyond the headings are kept under their number."""
        titles = [*self.columns, *map(str, range(len(self.columns), len(cells)))]
        name = _free(cells[0] if cells else "", self.rows)
        self.rows[name] = dict(zip(titles, cells, strict=False))

    def head(self, cells: Sequence[str]) -> None:
        """Take the headings; one that stands twice has ``#2`` added."""
        seen: dict[str, None] = {}
        for cell in cells:
            seen[_free(cell, seen)] = None
        self.columns = list(seen)

    def join(self, part: PrintedTable) -> None:
        """Add the columns of another part of the table: rows of one name are one row, and labels may stand in both."""
        own: dict[str, str] = {}
        for column in part.columns:
            both = [
                (self.rows[name].get(column), texts.get(column))
                for name, texts in part.rows.items()
                if name in self.rows
            ]
            is_repeated = column in self.columns and all(before == now for before, now in both)
            own[column] = column if is_repeated else _free(column, [*self.columns, *own.values()])
        self.columns += [column for column in own.values() if column not in self.columns]
        for name, texts in part.rows.items():
            self.rows.setdefault(name, {}).update({own.get(column, column): text for column, text in texts.items()})


@dataclass
class PrintedDocument:
    """All tables of a document, and whatever else it says where the whole document is FARLab's (HTML)."""

    tables: list[PrintedTable]
    rest: list[str] = field(default_factory=list)


Reader = Callable[[str], PrintedDocument]
READERS: Registry[Reader] = Registry("format of a table")


def _free(name: str, taken: object) -> str:
    number, free = 1, name
    while free in taken:  # type: ignore[operator]
        number += 1
        free = f"{name}#{number}"
    return free


def _plain(text: str) -> str:
    return " ".join(text.split())


@READERS.register("md")
def read_markdown(text: str) -> PrintedDocument:
    """Read GitHub's tables: from a heading, or the lines before the first bar, to the record."""
    tables: list[PrintedTable] = []
    table, bars = PrintedTable(), 0
    for line in text.splitlines():
        record = re.fullmatch(rf"<!-- {MARK}: (.*) -->", line.strip())
        if line.startswith("### ") or (record is None and table.record is not None and line.startswith("|")):
            if table.rows or table.record is not None:
                tables.append(table)
            table, bars = PrintedTable(), 0
        if record is not None:
            table.record = record[1]
        elif line.startswith("|"):
            cells = [_plain(cell) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if bars == 0:
                table.head(cells)
            elif bars > 1:
                table.add(cells)
            bars += 1
        elif line.strip() and table.record is None:
            (table.notes if bars else table.title).append(_plain(line))
    if table.rows or table.record is not None:
        tables.append(table)
    return PrintedDocument(tables)


@READERS.register("latex")
def read_latex(text: str) -> PrintedDocument:
    r"""Read ``table`` environments; how they are laid out is not looked at."""
    return PrintedDocument([_latex_table(part) for part in re.split(r"(?=\\begin\{table\*?\})", text)[1:]])


def _latex_table(text: str) -> PrintedTable:
    table = PrintedTable()
    body = re.split(r"\\end\{table\*?\}", text)[0]
    found = re.findall(rf"^[ \t]*% {MARK}: (.*)$", body, re.MULTILINE)
    table.record = "".join(found) or None
    body = re.sub(r"(?m)^[ \t]*%.*$", "", body)
    body = re.sub(r"\\parbox\[t\]\{[\d.]+pt\}\{\\raggedright (.*?)\\strut\}", r"\1", body)
    body = re.sub(r"\\begin\{tabular\}\[b\]\{@\{\}[lrc]@\{\}\}(.*?)\\end\{tabular\}", _heading, body)
    body = body.replace(BREAK, "")
    caption = re.search(r"\\caption\{(.*)\}\s*\\label", body, re.DOTALL)
    table.title = [_plain(caption[1])] if caption else []
    for inner in re.finditer(r"\\toprule(.*?)\\midrule(.*?)\\bottomrule", body, re.DOTALL):
        part = PrintedTable()
        above = re.sub(r"\\cmidrule\S*", "", inner[1])
        heads = [line for line in above.split(r"\\") if _plain(line)]
        table.title += [_plain(line) for line in heads[:-1]]
        part.head(_cells(heads[-1]) if heads else [])
        for line in re.split(r"\\\\(?=\s)", inner[2]):
            line = _plain(line.replace(r"\midrule", " "))
            if line:
                part.add(_cells(line))
        table.join(part)
    inside = r"\\begin\{minipage\}\{\\linewidth\}(.*?)\\end\{minipage\}"
    behind = r"\\begingroup\\noindent Table~\\ref\{[^}]*\}:(.*?)\\endgroup % of the notes"
    under = re.search(inside, body, re.DOTALL) or re.search(behind, text.replace(BREAK, ""), re.DOTALL)
    notes = under[1] if under else ""
    notes = re.sub(r"^\s*(?:\\(?:footnotesize|raggedright|selectfont|fontsize\{\w+\}\{[\w.]+\})\s*)*", "", notes)
    table.notes = [_plain(line) for line in re.split(r"\\par(?![a-z])|\\quad(?![a-z])", notes) if _plain(line)]
    return table


def _cells(line: str) -> list[str]:
    return [_plain(cell) for cell in re.split(r"(?<!\\)&", line)]


def _heading(found: re.Match[str]) -> str:
    """Return a heading that stands on several lines on one."""
    return _plain(found[1].replace(r"\\(", " (").replace(r"\\", " "))


class _HtmlReader(HTMLParser):
    """Collects the texts of sections of class ``table``, and all other texts in the order in which they stand."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = PrintedDocument([])
        self._table: PrintedTable | None = None
        self._cells: list[str] = []
        self._text: list[str] | None = None
        self._part = ""
        self._skipped = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attributes}
        if tag in ("style", "script"):
            self._skipped += 1
        if tag == "section" and held.get("class") == "table":
            self._table = PrintedTable(record=held.get(ATTRIBUTE))
            self.found.tables.append(self._table)
        elif self._table is None:
            self.found.rest += [value for name, value in held.items() if name in ("src", "href", "title", "alt")]
        elif tag in ("thead", "tbody"):
            self._part = tag
        elif tag == "tr":
            self._cells = []
        elif tag in ("th", "td", "h2", "p", "li"):
            # a cell's title has its values by seed
            self._text = [f"{held['title']}: "] if held.get("title") else []
        elif tag == "a" and self._text is not None:
            self._text.append(f" <{held.get('href', '')}> ")
        elif tag == "sup" and self._text is not None:
            self._text.append(" ^")

    def handle_endtag(self, tag: str) -> None:
        table = self._table
        if tag in ("style", "script"):
            self._skipped -= 1
        if table is None:
            return
        if tag == "section":
            self._table = None
        elif tag in ("th", "td", "h2", "p", "li") and self._text is not None:
            text, self._text = _plain("".join(self._text)), None
            if tag in ("th", "td"):
                self._cells.append(text)
            else:
                (table.notes if tag == "li" else table.title).append(text)
        elif tag == "tr" and self._part == "thead":
            if table.columns:
                table.title += table.columns
            table.head(self._cells)
        elif tag == "tr":
            table.add(self._cells)

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        if self._table is not None and self._text is not None:
            self._text.append(data)
        elif self._table is None and data.strip():
            self.found.rest.append(_plain(data))


@READERS.register("html")
def read_html(text: str) -> PrintedDocument:
    """Read a document or a page; its other texts are kept as well."""
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    return reader.found


@READERS.register("csv")
def read_csv(text: str) -> PrintedDocument:
    """Read lines in long form: consecutive ones of one table and one row belong together.

    Raises:
        ValueError: each line is a whole row, as FARLab 0.1 wrote them.
    """
    lines = csv.reader(io.StringIO(text))
    header = next(lines, [])
    if header[:2] == ["table", "profile"]:
        raise ValueError("it has a line for each row, as FARLab 0.1 wrote it: write it again with farlab report")
    tables: list[PrintedTable] = []
    last: tuple[str, str] | None = None
    for line in lines if header[:3] == ["table", "row", "metric"] else ():
        texts = dict(zip([*header, *map(str, range(len(header), len(line)))], line, strict=False))
        reference, name, metric = (texts.pop(key, "") for key in ("table", "row", "metric"))
        record, trials = texts.pop(MARK, ""), texts.pop(TRIALS, None)
        if last is None or last[0] != reference or record:
            tables.append(PrintedTable(columns=[key for key in header if key not in (TRIALS, MARK)]))
            last = None
        table = tables[-1]
        if last is None or last[1] != name:
            row = _free(name, table.rows)
            table.rows[row] = {}
        table.record = record or table.record
        table.rows[row] |= {f"{_free(metric, {key.rpartition(' ')[0] for key in table.rows[row]})} {key}": value
                            for key, value in texts.items()}  # fmt: skip
        if trials is not None and texts.get("origin") == Origin.MEASURED:
            known = table.trials.setdefault(row, trials)
            table.trials[row] = known if trials == known else f"{known}, {trials}"
        last = (reference, name)
    return PrintedDocument(tables)


@READERS.register("json")
def read_json_tables(text: str) -> PrintedDocument:
    """Read one object or a list of them; a place is a path of keys.

    Raises:
        ValueError: it is not JSON, or not of this form.
    """
    whole, read = json.loads(text, parse_float=str, parse_int=str), json.loads(text)  # digits as they stand
    every = zip(*(value if isinstance(value, list) else [value] for value in (whole, read)), strict=True)
    return PrintedDocument([_json_table(each, values) for each, values in every])


def _json_table(each: Any, values: Any) -> PrintedTable:
    if not isinstance(each, dict) or not isinstance(each.get("rows"), list):
        raise ValueError("no table of farlab report --format json")
    table = PrintedTable()
    table.record = json.dumps(values[MARK]) if MARK in values else None
    for row in each["rows"]:
        name = str(row.get("row", "")) if isinstance(row, dict) else str(row)
        table.rows[_free(name, table.rows)] = dict(_leaves(row))
    table.notes = [f"{key} {value}" for key, value in _leaves(each.get("notes"))]
    others = {key: value for key, value in each.items() if key not in ("rows", "notes", MARK)}
    table.title = [f"{key} {value}" for key, value in _leaves(others)]
    return table


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{index}" if path else str(index))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
