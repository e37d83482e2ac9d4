"""The paper's tables (Sensors 2024, 24, 6842): what each was measured on, and what it prints.

Another table is another entry of ``paper_tables.json`` and a study with its ``table:``; whatever validates, counts or
lays out tables reads it here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class TableFacts:
    """One table as the paper has it.

    Attributes:
        title: its caption.
        kind: ``ablation``, ``comparison`` (with other authors' methods), or ``recipe`` (settings, no results).
        columns: their titles.
        rows: the cells as printed.
        setting: what its numbers were measured on (Sections 4.3 and 4.4), in words.
        profile: the profile of that setting, where all rows share one.
        data_set: with backbone and pre-training, each row's profile in a comparison: ``ssv2-small-mvd``.
        classes: of the data set (Section 4.1).
        default_row: the row whose choice the paper keeps (Section 4.3).
        ruled_after: rows after which a rule is drawn between compartments that have no heading.
    """

    title: str
    kind: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    setting: str = ""
    profile: str | None = None
    data_set: str | None = None
    classes: int = 0
    default_row: str | None = None
    ruled_after: Sequence[str] = ()

    @property
    def has_results(self) -> bool:
        """Whether it holds measurements, which a study can reproduce."""
        return self.kind != "recipe"

    @property
    def needs_study(self) -> bool:
        """Whether it says nothing before something has run."""
        return self.kind == "ablation"


@cache
def paper_facts() -> Mapping[int, TableFacts]:
    """Return the paper's tables by number."""
    text = resources.files(__package__).joinpath("paper_tables.json").read_text(encoding="utf-8")
    return {int(number): TableFacts(**entry) for number, entry in json.loads(text).items()}


def result_tables() -> list[int]:
    """Return the numbers of the tables that a study can reproduce."""
    return [number for number, facts in paper_facts().items() if facts.has_results]
