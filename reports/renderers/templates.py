"""The template engine, set up once: strict about names, escaping what each format needs escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from jinja2.utils import markupsafe  # type: ignore[attr-defined]

from far.text import printable
from reports.text import number


def markdown(text: object) -> str:
    """Escape what would break a Markdown table's cell or be taken for markup."""
    escaped = "".join(f"\\{c}" if c in "\\|*_`<>[]" else c for c in printable(str(text)))
    return escaped.replace("\n", " ").replace("\r", " ")


PRINTED, PRINTED_DENSE, BETWEEN_COLUMNS = 105, 125, 1.5
"""Letters on a line of a printed page, in a table's two usual sizes, and what stands between two columns."""
LONGEST_WORD = 24
"""Characters of a word that is not broken; intervals have fewer."""
LINE_MAY_END = "<wbr>"
PIECE = re.compile(r"[^_/.:=,-]{1,15}[_/.:=,-]*|[_/.:=,-]+")


def as_html(text: str) -> str:
    """Return a text as the templates of HTML write it."""
    return str(markupsafe.escape(text))


def unbroken(text: str) -> Any:
    """Return a cell's text such that a line ends neither at a ± nor within an interval, but may within a long word."""
    held = re.sub(r" (?=±)|(?<=±) |(?<=,) (?=[+\u2212]?[\d.]+\])", "\N{NO-BREAK SPACE}", text)
    parts = re.split(rf"(\S{{{LONGEST_WORD},}})", held)
    pieces = [PIECE.findall(part) if index % 2 else [part] for index, part in enumerate(parts)]
    return markupsafe.Markup("").join(markupsafe.Markup(LINE_MAY_END).join(piece) for piece in pieces)


def density(columns: Iterable[Iterable[str]]) -> str:
    """Return how a table is printed so that it fits a page: ``""``, ``dense`` or ``denser``.

    Args:
        columns: the texts of each.
    """
    widths = (max((len(word) for text in texts for word in text.split()), default=0) for texts in columns)
    letters = sum(min(width, LONGEST_WORD) + BETWEEN_COLUMNS for width in widths)
    return "" if letters <= PRINTED else "dense" if letters <= PRINTED_DENSE else "denser"


def columns_of(lines: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Return the texts of each column, its title first, of lines that all have the same."""
    return [[name, *(line[name] for line in lines)] for name in lines[0]]


def in_words(text: str) -> Any:
    """Return a heading's text such that a line ends between its words alone, not at a hyphen within one."""
    whole = markupsafe.Markup("<span>{}</span>")
    return markupsafe.Markup(" ").join(whole.format(word) if "-" in word else word for word in text.split())


@lru_cache
def _environment(html: bool) -> Any:
    def load(name: str) -> str:
        return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")

    marks: dict[str, Any] = {} if html else {
        "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<",
        "variable_end_string": ">>", "comment_start_string": "<#", "comment_end_string": "#>",
    }  # fmt: skip
    environment = Environment(
        loader=FunctionLoader(load),
        undefined=StrictUndefined,
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        **marks,
    )
    environment.filters |= {
        "markdown": markdown,
        "number": number,
        "unbroken": unbroken,
        "in_words": in_words,
        "density": density,
        "columns": columns_of,
    }
    return environment


def fill(template: str, **values: Any) -> str:
    """Fill a template of ``reports/templates``; those of HTML escape everything by themselves."""
    return _environment(template.endswith(".html.jinja")).get_template(template).render(**values)
