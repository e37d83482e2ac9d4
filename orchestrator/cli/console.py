"""The one way to a rich console: names stay as they are written, whatever brackets, colons or escapes they hold."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console, JustifyMethod, OverflowMethod  # noqa: TID251
from rich.segment import Segment
from rich.text import Text

from far.text import printable
from orchestrator.cli.quiet import is_quiet
from orchestrator.cli.streams import terminal

PIPED_WIDTH = 200
"""Columns of output that is no terminal's, so that tables are not folded; ``COLUMNS`` says otherwise."""
NARROWEST, WIDEST = 60, 10_000


def display_width() -> int:
    """Return how wide output may be: the terminal's width, else what ``COLUMNS`` says, else ``PIPED_WIDTH``."""
    asked = os.environ.get("COLUMNS", "")
    usual = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH
    return min(max(int(asked) if asked.isascii() and asked.isdigit() else usual, NARROWEST), WIDEST)


class PlainConsole(Console):
    """A console that takes text for text: no markup, no emoji codes, no highlighting, no control characters."""

    def render_str(
        self,
        text: str,
        *,
        style: Any = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        **ignored: Any,
    ) -> Text:
        """Return the text as it is; every string that is printed or stands in a table comes by here."""
        return Text(printable(text), style=style, justify=justify, overflow=overflow)

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        """Render, with what is no string (``Text`` of others) freed of control characters too."""
        for segment in super().render(*arguments, **options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def make_console(
    stream: TextIO | None = None,
    *,
    stderr: bool = False,
    colours: bool | None = None,
    wrap: bool = False,
    talk: bool = False,
) -> PlainConsole:
    """Return a console for standard output, as wide as the terminal or as ``COLUMNS`` says.

    Args:
        stream: write here instead.
        stderr: write to standard error instead.
        colours: whether to write them; default: if it is a terminal.
        wrap: whether to break lines of prose between words.
        talk: whether what it prints is no result, which ``--quiet`` leaves out.
    """
    target = stream or terminal(sys.stderr if stderr else sys.stdout)
    width = None if target.isatty() else display_width()
    return PlainConsole(
        file=target,
        width=width,
        force_terminal=colours,
        force_jupyter=False,  # a notebook gets text like any pipe, where it is asked for
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not wrap,
        quiet=talk and is_quiet(),
    )
