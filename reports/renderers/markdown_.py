"""Markdown (GitHub's tables)."""

from __future__ import annotations

from collections.abc import Sequence

from reports.renderers import RENDERERS
from reports.renderers.templates import fill
from reports.tables.model import Table, folded


@RENDERERS.register("md")
def render(tables: Sequence[Table]) -> str:
    """One heading, table and notes for each."""
    return "\n".join(fill("table.md.jinja", table=folded(table)) for table in tables)
