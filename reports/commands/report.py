"""``farlab report``: tables in the paper's layout from whatever has finished so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import ProfileOption, ResultTargets, SeedsOption
from reports.output import deliver
from reports.page.watch import write_page
from reports.renderers import PAGE, RENDERERS, SUFFIXES
from reports.selection import StoreOption, StudyOption, load, parse_tables
from reports.tables.provenance import trace
from reports.tables.registry import build_all
from reports.verification.record import sealed

if TYPE_CHECKING:
    from reports.results.results import Results
    from reports.tables.model import Table

READ = ("targets", "table", "study", "all_", "profile", "seeds", "store", "from_")
"""Inputs that decide which results are read."""


@modes(
    mode("with --explain", (*READ, "output", "explain"), when="explain"),
    mode("with --watch", (*READ, "output", "format_", "watch", "interval", "strict"), when="watch"),
    mode("here", (*READ, "output", "format_", "strict")),
)
def report(
    targets: ResultTargets = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", "-t", help="Numbers of the paper's tables: 5, 2-6 or 2,5.", show_default=False),
    ] = None,
    study: StudyOption = None,
    all_: Annotated[bool, typer.Option("--all", help="The paper's tables, and every study in the store.")] = False,
    profile: ProfileOption = None,
    seeds: SeedsOption = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", "-f", help="term, md, latex, html, csv or json; default: by -o, else term."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
    store: StoreOption = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Read 'mlflow' (the workspace's) or a tracking URI instead of the store."),
    ] = None,
    explain: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="ROW METRIC", help="Explain one cell of a table, e.g. '1:1' top1.", show_default=False),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Rewrite the page while trials run, until all have ended.")
    ] = False,
    interval: Annotated[int, typer.Option(min=1, help="Refresh interval of --watch in seconds.")] = 10,
    strict: Annotated[bool, typer.Option(help="Exit with code 3 unless every number is there.")] = False,
) -> None:
    """Print tables: measured mean ± std over seeds, costs, and the paper's numbers beside them."""
    name = chosen_format(format_, output)
    numbers = parse_tables(table or [])

    def read() -> list[Results]:
        return load(numbers, study, all_, profile, seeds, targets, store, from_)

    if explain is not None:
        deliver(trace(read(), *explain), output)
    elif is_page(name, all_, output):
        assert output is not None

        tables = write_page(output, read, numbers, everything=all_, every=interval if watch else None)
        raise typer.Exit(exit_code(tables, strict))
    elif watch:
        raise ConfigError("only a page can be watched: --format html -o DIRECTORY/", key="--watch")
    else:
        raise typer.Exit(document(read, numbers, name, output, everything=all_, strict=strict))


def document(
    read: Callable[[], list[Results]],
    numbers: list[int],
    format_: str,
    output: Path | None,
    *,
    everything: bool,
    strict: bool,
) -> int:
    """Print or write tables in one format; return the exit code."""
    tables = build_all(numbers, read(), everything=everything)
    deliver(sealed(RENDERERS[format_](tables), format_, tables), output)
    return exit_code(tables, strict)


def is_page(name: str, all_: bool, output: Path | None) -> bool:
    """Whether the page with figures is meant, rather than a document with tables alone."""
    return name == PAGE and output is not None and (all_ or not output.suffix or output.is_dir())


def chosen_format(name: str | None, output: Path | None) -> str:
    """Return the format asked for, or that of the file's name, or the terminal's.

    Raises:
        ConfigError: there is no such format.
    """
    chosen = name or ("term" if output is None else _format_of(output))
    if chosen not in RENDERERS:
        raise ConfigError(f"unknown format '{chosen}'", key="--format", choices=RENDERERS, got=chosen)
    return chosen


def _format_of(output: Path) -> str:
    """Return the format that a file's name tells; a folder gets the page."""
    suffix = output.suffix.lower()
    if not suffix or output.is_dir():
        return PAGE
    if suffix not in SUFFIXES:
        raise ConfigError("no format has this ending; say --format", key="--output", choices=SUFFIXES, got=suffix)
    return SUFFIXES[suffix]


def exit_code(tables: list[Table], strict: bool) -> int:
    """0: a table with visible gaps is a success; with ``--strict`` gaps exit 3."""
    return 3 if strict and any(table.unfinished for table in tables) else 0
