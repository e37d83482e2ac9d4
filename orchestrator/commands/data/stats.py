"""``farlab data stats``: what is in a data set."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.table import Table

from far.data.sources.describe import statistics
from far.data.sources.resized import summary
from far.store.atomic import finite
from orchestrator.cli.console import make_console
from orchestrator.cli.datasets import SourceArgument, load
from orchestrator.cli.options import JsonOption


def stats(source: SourceArgument = "demo", json_: JsonOption = False) -> None:
    """Show counts by split and class, lengths, rates and sizes.

    Examples:
        farlab data stats
        farlab data stats mine --json
    """
    manifest = load(source)
    numbers = statistics(manifest)
    if json_:
        typer.echo(json.dumps(finite(numbers), indent=2, allow_nan=False))
        return
    typer.echo(f"{numbers['source']}: {numbers['classes']} classes, content {numbers['content_hash'][:16]}")
    if resized := summary(manifest):
        typer.echo(resized)
    splits = numbers["splits"]
    table = Table("", *splits)
    for key in next(iter(splits.values())):
        if any(values[key] is not None for values in splits.values()):
            table.add_row(key.replace("_", " "), *(cell(values[key]) for values in splits.values()))
    make_console().print(table)


def cell(value: Any) -> str:
    """Return a number, or the spread of many, as text."""
    if isinstance(value, dict):
        return f"{value['min']:g} to {value['max']:g}, median {value['median']:g}"
    return "" if value is None else str(value)
