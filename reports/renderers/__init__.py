"""Formats of a table, one small module each; a new one is a function registered under its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from far.registry import Registry, callable_with

Renderer = Callable[..., str]
"""Turns a sequence of tables into the text of one document; a format that has choices takes them by name."""

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
_PRINTED = "write LaTeX (-o tables.tex) and compile it, or the page (-o report/) and print it from a browser"
_SHEET = "write CSV (-o tables.csv): spreadsheets open it (as UTF-8, separated by commas)"
_TEXT = "write the page (-o report/), which word processors open, or Markdown (-o tables.md) for pandoc"
INSTEAD = {
    **dict.fromkeys((".pdf", ".ps", ".eps", ".png", ".svg", ".jpg"), _PRINTED),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".tsv", ".parquet"), _SHEET),
    **dict.fromkeys((".docx", ".doc", ".odt", ".rtf", ".pptx"), _TEXT),
}
"""What to do instead, by endings of what people would like to open and no format writes."""

for _module in ("term", "markdown", "latex", "html", "csv", "json"):
    importlib.import_module(f"{__name__}.{_module}_")
