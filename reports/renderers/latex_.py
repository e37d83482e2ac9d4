"""LaTeX that compiles with booktabs alone."""

from __future__ import annotations

from collections.abc import Sequence

from reports.renderers import RENDERERS
from reports.renderers.templates import fill
from reports.tables.model import Table, folded


@RENDERERS.register("latex")
def render(tables: Sequence[Table]) -> str:
    r"""Return ``table`` environments to ``\input``; the preamble needs ``\usepackage{booktabs}``."""
    return "\n".join(fill("table.tex.jinja", table=folded(table)) for table in tables)
