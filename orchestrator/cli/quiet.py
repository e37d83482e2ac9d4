"""``--quiet``: results, warnings and errors alone; no progress, no notes, no word of what was written where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import typer

META = "farlab.quiet"
"""Under which click's context keeps that it was asked for."""
HELP = "Only results, warnings and errors: no progress, no notes."
NOTE = "note: "
"""How a line begins that can be left out."""

_asked = False


def is_quiet() -> bool:
    """Return whether the command that runs was asked to be."""
    return _asked


def talk(text: str, *, error: bool = False) -> None:
    """Print what is no result, unless the command was asked to be quiet."""
    if not _asked:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


@contextmanager
def quiet(asked: bool) -> Iterator[None]:
    """Be quiet within, if that is asked for; threads that are started within are, too."""
    global _asked  # of the process: a context variable is lost in threads
    before, _asked = _asked, asked
    try:
        yield
    finally:
        _asked = before


def _note(context: typer.Context, value: bool) -> bool:
    if value:
        context.meta[META] = True
    return value


def _carrier(
    hushed: bool = typer.Option(
        False, "--quiet", "-q", callback=_note, expose_value=False, show_default=False, help=HELP
    ),
) -> None:
    """Do nothing: typer makes the option out of this signature."""


@cache
def quiet_option() -> Any:
    """Return the option that every command has; what was given of it stands in the context's ``meta``."""
    app = typer.Typer(add_completion=False)
    app.command()(_carrier)
    return next(param for param in typer.main.get_command(app).params if "--quiet" in param.opts)
