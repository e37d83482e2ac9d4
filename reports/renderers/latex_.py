"""LaTeX that compiles with booktabs alone."""

from __future__ import annotations

from collections.abc import Sequence

from reports.renderers import RENDERERS
from reports.renderers.templates import fill
from reports.table import Table, folded


@RENDERERS.register("latex")
def render(tables: Sequence[Table]) -> str:
    r"""Return ``table`` environments to ``\input``; the preamble needs ``\usepackage{booktabs}``."""
    return "\n".join(fill("table.tex.jinja", table=folded(table), spans=_spans(folded(table))) for table in tables)


def _spans(table: Table) -> list[tuple[int, int, str]]:
    """First and last column (from 1) of each run of columns of one origin."""
    spans: list[tuple[int, int, str]] = []
    for index, column in enumerate(table.columns, start=1):
        if spans and spans[-1][2] == column.origin.value:
            spans[-1] = (spans[-1][0], index, column.origin.value)
        else:
            spans.append((index, index, column.origin.value))
    return spans
