"""The paper's own numbers (Sensors 2024, 24, 6842, Tables 1-8), as facts to set beside measured ones."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from far.errors import ConfigError
from orchestrator.study.names import in_doubt, pair_names

METRIC_OF_COLUMN = {
    "Top-1 (%)": "top1",
    "Top-5 (%)": "top5",
    "FLOPS (G)": "flops",
    "Flops (G)": "flops",
    "Param (M)": "params",
    "Views": "views",
}
"""The identifier that the numbers of a column have everywhere in FARLab; FLOPs in G, parameters in M."""

SETTING = {
    2: "Something-Something V2, ViT-S, MVD, 2 clips × 3 crops",
    3: "Something-Something V2, ViT-S, MVD, 2 clips × 3 crops",
    4: "Something-Something V2, ViT-S, MVD, 2 clips × 3 crops",
    5: "Something-Something V2, ViT-S, MVD, 2 clips × 3 crops",
    6: "Something-Something V2, ViT-S, MVD, 2 clips × 3 crops",
    7: "Something-Something V2",
    8: "Kinetics-400",
}
"""What each table's numbers were measured on (paper, Sections 4.3 and 4.4)."""

DEFAULT_ROW = {
    2: "Head-Split Sparse-Dense",
    3: "Bottleneck w Group",
    4: "Group-Mean",
    5: "1:1",
    6: "Before Attention",
}
"""The row whose choice the paper keeps (Section 4.3)."""

RULED_AFTER = {2: ("Temporal",)}
"""Rows after which the paper draws a rule between compartments that have no heading."""


@dataclass(frozen=True)
class PaperRow:
    """One row as printed: its name, compartment, descriptive cells and numbers by metric."""

    name: str
    group: str
    labels: Mapping[str, str]
    numbers: Mapping[str, float | None]


@dataclass(frozen=True)
class PaperTable:
    """One of Tables 2-8 as printed."""

    number: int
    title: str
    columns: Sequence[str]
    rows: Sequence[PaperRow]

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


@lru_cache
def _raw() -> dict[str, Any]:
    return json.loads(resources.files(__name__).joinpath("tables.json").read_text(encoding="utf-8"))


def paper_tables() -> list[int]:
    """Return the numbers of the paper's tables."""
    return [int(number) for number in _raw()]


def recipe_table() -> tuple[str, list[str], list[list[Any]]]:
    """Return title, columns and rows of Table 1, which holds settings rather than measurements."""
    raw = _raw()["1"]
    return raw["title"], raw["columns"], raw["rows"]


def printed_table(number: int | None) -> PaperTable | None:
    """Return one of Tables 2-8, None where a study reproduces none of them."""
    return paper_table(number) if number in paper_tables() and number not in (None, 1) else None


def paper_table(number: int) -> PaperTable:
    """Return one of Tables 2-8.

    Raises:
        ConfigError: the paper has no such table of measurements.
    """
    raw = _raw().get(str(number))
    if raw is None or number == 1:
        choices = [str(n) for n in paper_tables() if n != 1]
        raise ConfigError(f"the paper has no table {number} of results", choices=choices, got=str(number))
    columns = raw["columns"]
    return PaperTable(number, raw["title"], columns, [_row(columns, cells) for cells in raw["rows"]])


def _row(columns: Sequence[str], cells: Sequence[Any]) -> PaperRow:
    by_title = dict(zip(columns, cells, strict=True))
    labels = {t: str(v) for t, v in by_title.items() if t not in METRIC_OF_COLUMN and t != "Group"}
    numbers = {METRIC_OF_COLUMN[t]: v for t, v in by_title.items() if t in METRIC_OF_COLUMN}
    name_of = [labels[t] for t in columns if t in labels and t != "Extra Data"]
    name = " ".join(name_of)
    if by_title.get("Method") == "OmniMAE" and "+" in labels["Extra Data"]:
        name += f" ({labels['Extra Data']})"  # the one method that Table 7 holds twice with one backbone
    return PaperRow(name, str(by_title.get("Group", "")), labels, numbers)
