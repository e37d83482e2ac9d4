"""The paper's own numbers (Sensors 2024, 24, 6842, Tables 1-8), as facts to set beside measured ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from far.errors import ConfigError
from orchestrator.study.names import in_doubt, pair_names
from orchestrator.study.paper import TableFacts, paper_facts, result_tables

METRIC_OF_COLUMN = {
    "Top-1 (%)": "top1",
    "Top-5 (%)": "top5",
    "FLOPS (G)": "flops",
    "Flops (G)": "flops",
    "Param (M)": "params",
    "Views": "views",
}
"""The identifier that the numbers of a column have everywhere in FARLab; FLOPs in G, parameters in M."""


@dataclass(frozen=True)
class PaperRow:
    """One row as printed: its name, compartment, descriptive cells and numbers by metric."""

    name: str
    group: str
    labels: Mapping[str, str]
    numbers: Mapping[str, float | None]


@dataclass(frozen=True)
class PaperTable:
    """A table of results as printed."""

    number: int
    facts: TableFacts
    rows: Sequence[PaperRow]

    @property
    def title(self) -> str:
        """Its caption."""
        return self.facts.title

    @property
    def columns(self) -> Sequence[str]:
        """Titles of its columns."""
        return self.facts.columns

    @property
    def label_columns(self) -> list[str]:
        """Titles of the columns that describe a row rather than measure it."""
        return [title for title in self.columns if title != "Group" and title not in METRIC_OF_COLUMN]

    def row(self, name: str) -> PaperRow | None:
        """Return the row that is printed under exactly this name, or None."""
        return next((row for row in self.rows if row.name == name), None)

    def rows_of(self, names: Collection[str]) -> dict[str, PaperRow]:
        """Return the printed row of each of a study's rows that the paper has (see ``pair_names``)."""
        by_name = {row.name: row for row in self.rows}
        return {own: by_name[printed] for own, printed in pair_names(names, by_name).items()}

    def in_doubt(self, names: Collection[str]) -> dict[str, list[str]]:
        """Return the printed rows that several of a study's rows are spelled like, with those."""
        printed = [row.name for row in self.rows]
        return in_doubt(names, printed, pair_names(names, printed))


def paper_tables() -> list[int]:
    """Return the numbers of the paper's tables."""
    return list(paper_facts())


def printed_table(number: int | None) -> PaperTable | None:
    """Return a table of results, None where a study reproduces none."""
    return paper_table(number) if number in result_tables() and number is not None else None


def rows_printed(number: int | None, names: Collection[str]) -> tuple[PaperTable | None, dict[str, PaperRow]]:
    """Return the table of results that a study reproduces, if any, and the printed row of each row that it has."""
    printed = printed_table(number)
    return printed, printed.rows_of(names) if printed else {}


def paper_table(number: int) -> PaperTable:
    """Return a table of results.

    Raises:
        ConfigError: the paper has no such table.
    """
    if number not in result_tables():
        choices = [str(n) for n in result_tables()]
        raise ConfigError(f"the paper has no table {number} of results", choices=choices, got=str(number))
    facts = paper_facts()[number]
    return PaperTable(number, facts, [_row(facts.columns, cells) for cells in facts.rows])


def _row(columns: Sequence[str], cells: Sequence[Any]) -> PaperRow:
    by_title = dict(zip(columns, cells, strict=True))
    labels = {t: str(v) for t, v in by_title.items() if t not in METRIC_OF_COLUMN and t != "Group"}
    numbers = {METRIC_OF_COLUMN[t]: v for t, v in by_title.items() if t in METRIC_OF_COLUMN}
    name_of = [labels[t] for t in columns if t in labels and t != "Extra Data"]
    name = " ".join(name_of)
    if by_title.get("Method") == "OmniMAE" and "+" in labels["Extra Data"]:
        name += f" ({labels['Extra Data']})"  # the one method that Table 7 holds twice with one backbone
    return PaperRow(name, str(by_title.get("Group", "")), labels, numbers)
