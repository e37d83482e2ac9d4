"""Formats of a table, one small module each; a new one is a function registered under its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from far.registry import Registry, callable_with
from reports.tables.model import Table

Renderer = Callable[[Sequence[Table]], str]
"""Turns tables into the text of one document."""

RENDERERS: Registry[Renderer] = Registry("format", accepts=callable_with("tables"))
PAGE = "html"
"""The format of what a folder gets: tables and figures in one page."""
SUFFIXES = {
    ".md": "md",
    ".tex": "latex",
    ".html": "html",
    ".htm": "html",
    ".csv": "csv",
    ".json": "json",
    ".txt": "term",
}
"""The format that a file's name asks for where ``--format`` is not given."""

for _module in ("term", "markdown", "latex", "html", "csv", "json"):
    importlib.import_module(f"{__name__}.{_module}_")
