"""Writing the page, once or again and again while trials run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from orchestrator.workspace.settings import load_settings
from reports.figures import Options
from reports.output import deliver
from reports.page.build import build_page
from reports.results.results import Results
from reports.results.state import State
from reports.tables.model import Table
from reports.tables.registry import build_all

PENDING = {State.MISSING, State.RUNNING}


def write_page(
    output: Path,
    collect: Callable[[], list[Results]],
    numbers: Sequence[int],
    *,
    everything: bool,
    columns: Sequence[str] = (),
    every: int | None = None,
) -> list[Table]:
    """Write the page, and with ``every`` again every so many seconds until no trial is pending.

    Args:
        output: a folder, in which the page is ``index.html``, or the page's own file.
        collect: reads the results again.
        numbers: tables asked for.
        everything: whether Tables 1, 7 and 8 belong to it.
        columns: only these, where a table has them; empty: all.
        every: seconds. Of everything, only what was submitted to the store is waited for.

    Returns:
        The tables as they were written last.
    """
    settings = load_settings()
    options = Options(data_root=settings.data_root, weights_root=settings.weights_root)
    path = output if output.suffix.lower() in (".html", ".htm") else output / "index.html"
    written: tuple[str, ...] | None = None
    while True:
        results = collect()
        tables = build_all(numbers, results, everything=everything, columns=columns)
        state = tuple(f"{t.key} {t.state}" for found in results for row in found.rows for t in row.planned)
        awaited = [found for found in results if found.submitted or not everything]
        pending = any(t.state in PENDING for found in awaited for row in found.rows for t in row.planned)
        again = every if pending else None
        if again is None or written != state:
            deliver(build_page(tables, results, options, refresh=again), path)
        if again is None:
            if every and written is None:
                typer.echo("nothing to wait for: no trial is running or to come")
            return tables
        if written is None:
            typer.echo(f"watching; open {path.resolve().as_uri()} (Ctrl-C ends it)")
        written = state
        time.sleep(again)
