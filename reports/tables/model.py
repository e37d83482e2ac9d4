"""A table before it is drawn: typed cells that know their state, their seeds and the trials behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from reports.results.state import State
from reports.text import number

if TYPE_CHECKING:
    from reports.results.results import Results


EMPTY = "–"
WORD = re.compile(r"[^\W\d_]{3}")
"""What tells words from ``24777/24777``, ``n/a × 10`` and ``16 × 2 × 3``."""


class Origin(StrEnum):
    """Whose number it is: a demo number never stands unmarked beside a paper number."""

    MEASURED = "measured"
    PAPER = "paper"
    COUNTED = "counted"
    """Costs computed from the configuration, without a run."""
    QUOTED = "quoted"
    """As another work reports them, in rows that the study quotes."""
    LABEL = "label"


@dataclass(frozen=True)
class Column:
    """A column; ``key`` is stable (CSV, JSON, ``--explain``), ``title`` is what people read."""

    key: str
    title: str
    origin: Origin = Origin.MEASURED
    foldable: bool = False
    """Whether a column that says the same in every row may become a line under the table."""


@dataclass(frozen=True)
class Cell:
    """One cell. ``values`` are per seed; ``value`` is their mean, or the one number there is."""

    value: float | str | None = None
    state: State = State.FINISHED
    decimals: int = 1
    values: tuple[float, ...] = ()
    std: float | None = None
    expected: int = 0
    """Number of seeds planned, where the cell is an average."""
    interval: tuple[float, float] | None = None
    signed: bool = False
    stars: str = ""
    best: bool = False
    marks: tuple[str, ...] = ()
    """Letters of the notes that concern this cell."""
    source: str = ""
    """Where a quoted number comes from."""
    cite: str = ""
    """Key of a bibliography (BibTeX) that the number is quoted from."""
    trials: tuple[str, ...] = ()
    """Keys of the trials behind the number."""
    links: tuple[tuple[str, str], ...] = ()
    """Label and address of the runs behind the number."""

    @property
    def is_empty(self) -> bool:
        """Whether it reads as a dash: nothing belongs here."""
        return self.text == EMPTY

    @property
    def text(self) -> str:
        """The cell as people read it, in Unicode and without marks."""
        if self.state not in (State.FINISHED, State.PARTIAL, State.INCOMPARABLE) or (
            self.value is None and self.state is State.INCOMPARABLE
        ):
            return self.state.value
        if self.value is None:
            return EMPTY
        if isinstance(self.value, str):
            return self.value
        text = number(self.value, self.decimals, signed=self.signed)
        if self.std is not None:
            text += f" ± {number(self.std, self.decimals)}"
        if self.interval is not None:
            low, high = (number(end, self.decimals, signed=self.signed) for end in self.interval)
            text += f" [{low}, {high}]"
        text += self.stars
        if self.state is State.PARTIAL and self.expected:
            text += f" ({len(self.values)}/{self.expected} seeds)"
        return text


@dataclass(frozen=True)
class Row:
    """One row; ``group`` is the compartment's heading, ``ruled`` asks for a rule before it."""

    name: str
    cells: Mapping[str, Cell]
    state: State
    group: str = ""
    default: bool = False
    ruled: bool = False
    seeds: tuple[int, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    """The machine-readable form (``--format json``)."""


@dataclass(frozen=True)
class Note:
    """A line under the table; without a mark it concerns the whole table."""

    text: str
    mark: str = ""
    about: tuple[str, ...] = field(default=(), kw_only=True)
    """How the keys of the columns begin that it is about; it goes where none of them is shown. Empty: it stays."""
    link: str = field(default="", kw_only=True)
    """An address in the text that may be followed."""


@dataclass(frozen=True)
class Table:
    """A table, ready for any renderer."""

    key: str
    """``5`` for the paper's Table 5, else the study's name."""
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    profile: str = ""
    warning: str = ""
    """What must be read before the numbers, such as that they are of demo scale."""
    notes: tuple[Note, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
    number: int | None = None
    """The paper's number of this table, if it is one of the paper's."""
    study: str = ""
    """The study whose rows these are."""
    anchor: str = ""
    """Tells the table from the others of its document, in links and references; empty: the key does."""
    source: Results | None = field(default=None, repr=False, compare=False)
    """What it was laid out from; None where it needs no results."""

    chosen: tuple[str, ...] = ()
    """Keys of the columns that were asked for; empty: all."""

    @property
    def reference(self) -> str:
        """What links and references to the table end in."""
        return self.anchor or self.key

    @property
    def title(self) -> str:
        """``Table 5. Caption`` for the paper's tables."""
        return f"Table {self.key}. {self.caption}." if self.number is not None else f"{self.caption}."

    def origin_title(self, origin: Origin | str) -> str:
        """What stands above the columns of one origin."""
        titles = {
            Origin.MEASURED: f"measured ({self.profile})",
            Origin.PAPER: "paper",
            Origin.COUNTED: "counted",
            Origin.QUOTED: "quoted",
        }
        return titles.get(Origin(origin), "")

    @property
    def spans(self) -> list[tuple[int, int, Origin]]:
        """First and last column (from 1) of each run of columns of one origin."""
        spans: list[tuple[int, int, Origin]] = []
        for index, column in enumerate(self.columns, start=1):
            if spans and spans[-1][2] is column.origin:
                spans[-1] = (spans[-1][0], index, column.origin)
            else:
                spans.append((index, index, column.origin))
        return spans

    def cell(self, row: Row, column: Column) -> Cell:
        """Return a cell; one that was never set reads as a dash."""
        return row.cells.get(column.key, Cell())

    def is_text(self, column: Column) -> bool:
        """Whether a column holds words rather than numbers: they are set flush left and may be broken."""
        values = [value for row in self.rows if (value := self.cell(row, column).value) is not None]
        return all(isinstance(value, str) for value in values) and any(WORD.search(str(value)) for value in values)

    @property
    def texts(self) -> list[list[str]]:
        """What stands in each column, its title first."""
        return [[column.title, *(self.cell(row, column).text for row in self.rows)] for column in self.columns]

    @property
    def unfinished(self) -> list[Row]:
        """Rows whose measured numbers are not all there."""
        return [row for row in self.rows if row.state not in (State.FINISHED, State.UNREPORTED)]


def folded(table: Table) -> Table:
    """Turn columns that say the same in every row (where they say anything) into one line under the table."""
    lines, kept = [], []
    for column in table.columns:
        texts = {table.cell(row, column).text for row in table.rows} - {EMPTY}
        if column.foldable and len(texts) <= 1 and len(table.rows) > 1:
            lines += [f"{column.title}: {text}" for text in texts]
        else:
            kept.append(column)
    notes = [Note(line[:1].upper() + line[1:] + ".") for line in lines]
    return replace(table, columns=tuple(kept), notes=(*notes, *table.notes))
