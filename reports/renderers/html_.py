"""HTML: a self-contained document; whatever comes from a file or a label is escaped by the template."""

from __future__ import annotations

from collections.abc import Sequence

from reports.renderers import RENDERERS
from reports.renderers.templates import fill
from reports.tables.model import Table


@RENDERERS.register("html")
def render(tables: Sequence[Table]) -> str:
    """One page with all tables."""
    title = tables[0].title if len(tables) == 1 else "FARLab report"
    return fill("tables.html.jinja", title=title, tables=tables)
