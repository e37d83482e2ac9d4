"""``farlab report``: tables in the paper's layout from whatever has finished so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from far.text import encodable
from orchestrator.cli.inputs import mode, modes, refuse_given
from orchestrator.commands.options import ProfileOption, ResultTargets, SeedsOption
from orchestrator.garbage import gc_paused

if TYPE_CHECKING:
    from reports.results.results import Results
    from reports.tables.model import Table


READ = ("targets", "table", "study", "all_", "profile", "seeds", "store", "from_")
"""Inputs that decide which results are read."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("report")
    @modes(
        mode("with --explain", (*READ, "output", "explain"), when="explain"),
        mode("with --watch", (*READ, "output", "format_", "watch", "interval", "strict"), when="watch"),
        mode("here", (*READ, "output", "format_", "strict")),
    )
    def report(
        targets: ResultTargets = None,
        table: Annotated[
            list[str] | None,
            typer.Option("--table", "-t", help="Numbers of the paper's tables: 5, or 2-6, or 2,5.", show_default=False),
        ] = None,
        study: Annotated[
            list[str] | None, typer.Option("--study", help="A study file or name.", show_default=False)
        ] = None,
        all_: Annotated[bool, typer.Option("--all", help="The paper's tables, and every study in the store.")] = False,
        profile: ProfileOption = None,
        seeds: SeedsOption = None,
        format_: Annotated[
            str | None,
            typer.Option("--format", "-f", help="term, md, latex, html, csv or json; default: by -o, else term."),
        ] = None,
        output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
        store: Annotated[Path | None, typer.Option(help="Read this store instead of the workspace's.")] = None,
        from_: Annotated[
            str | None,
            typer.Option("--from", help="Read 'mlflow' (the workspace's) or a tracking URI instead of the store."),
        ] = None,
        explain: Annotated[
            tuple[str, str] | None,
            typer.Option(
                metavar="ROW METRIC", help="Show what is behind one cell, e.g. '1:1' top1.", show_default=False
            ),
        ] = None,
        watch: Annotated[
            bool, typer.Option("--watch", help="Write the page again while trials run, until all have ended.")
        ] = False,
        interval: Annotated[int, typer.Option(min=1, help="Seconds between two looks of --watch.")] = 10,
        strict: Annotated[bool, typer.Option(help="Exit 3 unless every number is there.")] = False,
    ) -> None:
        """Print tables: measured mean ± std over seeds, costs, and the paper's numbers beside them."""
        name = chosen_format(format_, output)
        numbers = parse_tables(table or [])
        read = lambda: load(numbers, study, all_, profile, seeds, targets, store, from_)  # noqa: E731
        if explain is not None:
            from reports.analysis.provenance import trace

            deliver(trace(read(), *explain), output)
        elif is_page(name, all_, output):
            assert output is not None
            from reports.page.watch import write_page

            tables = write_page(output, read, numbers, everything=all_, every=interval if watch else None)
            raise typer.Exit(exit_code(tables, strict))
        elif watch:
            raise ConfigError("only a page can be watched: --format html -o DIRECTORY/", key="--watch")
        else:
            raise typer.Exit(document(read, numbers, name, output, everything=all_, strict=strict))


@gc_paused()
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
    from reports.renderers import RENDERERS
    from reports.tables.registry import build_all
    from reports.verification.record import sealed

    tables = build_all(numbers, read(), everything=everything)
    deliver(sealed(RENDERERS[format_](tables), format_, tables), output)
    return exit_code(tables, strict)


def load(
    numbers: list[int],
    study: list[str] | None,
    all_: bool,
    profile: str | None,
    seeds: str | None,
    targets: list[str] | None,
    store: Path | None,
    tracking: str | None = None,
) -> list[Results]:
    """Return the results that the options ask for.

    Raises:
        ConfigError: they ask for nothing, or for what does not exist.
    """
    from orchestrator.commands.options import existing_store, parse_seeds, split_targets
    from reports.paper.studies import studies_for, studies_of_table, tables_with_study
    from reports.results.collect import collect
    from reports.tables.registry import NEED_NO_STUDY

    names, overrides = split_targets(targets or [])
    studies = [*(study or []), *names]
    if not (numbers or studies or all_):
        raise ConfigError("name what to report: STUDY, --table N or --all", where="command line")
    if all_:
        refuse_given("table", because="--all has every table")
    if tracking is not None:
        from orchestrator.workspace.settings import checked_uri

        tracking = tracking if tracking == "mlflow" else checked_uri(tracking, "--from")
        refuse_given("store", because="--from reads the tracking server instead")
    known = tables_with_study()
    wanted = known if all_ else [n for n in numbers if n in known or n not in NEED_NO_STUDY]
    of_tables = [path for n in known for path in studies_of_table(n)] if all_ else studies_for(wanted)
    found = list({path.resolve(): path for path in [*of_tables, *study_paths(studies)]}.values())
    if not found:
        unread = ("targets", "profile", "seeds", "store", "from_")
        refuse_given(*unread, because="this table needs no results of yours")
    return collect(
        found,
        profile=profile,
        seeds=parse_seeds(seeds),
        overrides=overrides,
        store=existing_store(store),
        tracking=tracking,
        of_tables=of_tables,
        optional=[path for n in wanted if n in NEED_NO_STUDY for path in studies_of_table(n)],
        everything=all_,
    )


def study_paths(names: Sequence[str]) -> list[Path]:
    """Return the files of studies given by name, file or directory, each once."""
    from orchestrator.study import study_files

    return list({file.resolve(): file for name in names for file in study_files(name)}.values())


def is_page(name: str, all_: bool, output: Path | None) -> bool:
    """Whether the page with figures is meant, rather than a document with tables alone."""
    return name == "html" and output is not None and (all_ or not output.suffix or output.is_dir())


def parse_tables(texts: list[str]) -> list[int]:
    """Read ``5``, ``2,5``, ``2-6`` or ``2..6``, each possibly several times.

    Raises:
        ConfigError: a part is no number, or no table of the paper.
    """
    from reports.paper import paper_tables

    numbers: list[int] = []
    for part in ",".join(texts).replace("..", "-").split(",") if texts else []:
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ConfigError(f"'{part}' is not a table's number", key="--table", choices=paper_tables(), got=part)
        numbers += range(int(first), int(last or first) + 1)
    unknown = [n for n in numbers if n not in paper_tables()]
    if unknown:
        raise ConfigError(f"the paper has no table {unknown[0]}", key="--table", choices=paper_tables(), got=unknown[0])
    return list(dict.fromkeys(numbers))


def chosen_format(name: str | None, output: Path | None) -> str:
    """Return the format asked for, or that of the file's name, or the terminal's.

    Raises:
        ConfigError: there is no such format.
    """
    from reports.renderers import RENDERERS

    chosen = name or ("term" if output is None else _format_of(output))
    if chosen not in RENDERERS:
        raise ConfigError(f"unknown format '{chosen}'", key="--format", choices=RENDERERS, got=chosen)
    return chosen


def _format_of(output: Path) -> str:
    """Return the format that a file's name tells; a folder gets the page."""
    from reports.renderers import SUFFIXES

    suffix = output.suffix.lower()
    if not suffix or output.is_dir():
        return "html"
    if suffix not in SUFFIXES:
        raise ConfigError("no format has this ending; say --format", key="--output", choices=SUFFIXES, got=suffix)
    return SUFFIXES[suffix]


def deliver(text: str, output: Path | None) -> None:
    """Print, or write the file whole or not at all; a pipe or a device (``/dev/stdout``) is written to, not replaced.

    Raises:
        ConfigError: the file cannot be written.
    """
    if output is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        content = encodable(text, "utf-8").encode()
        if output.exists() and not output.is_file():
            output.write_bytes(content)
        else:
            partial = output.with_name(f".{output.name}.partial")
            partial.write_bytes(content)
            partial.replace(output)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", key="--output", where=str(output)) from None
    typer.echo(f"wrote {output}")


def exit_code(tables: list[Table], strict: bool) -> int:
    """0: a table with visible gaps is a success; with ``--strict`` gaps exit 3."""
    return 3 if strict and any(table.unfinished for table in tables) else 0
