"""``farlab report``: tables in the paper's layout from whatever has finished so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from far.errors import ConfigError
from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import ProfileOption, ResultTargets, SeedsOption, TrustOption
from reports.output import deliver
from reports.page.serve import serve_page
from reports.page.watch import Watch, write_page
from reports.renderers import INSTEAD, PAGE, RENDERERS, SUFFIXES
from reports.renderers.latex_ import Style
from reports.renderers.latex_ import render as render_latex
from reports.selection import Selection, StoreOption, StudyOption
from reports.tables.columns import read_columns
from reports.tables.provenance import trace
from reports.tables.registry import build_all
from reports.verification.record import sealed

if TYPE_CHECKING:
    from reports.results.results import Results
    from reports.tables.model import Table

READ = ("targets", "table", "study", "all_", "profile", "seeds", "store", "from_", "trust")
"""Inputs that decide which results are read."""
LATEX = ("latex_width", "latex_engine", "latex_siunitx", "latex_caption")
"""Inputs that only LaTeX has."""


def _is_latex(given: Mapping[str, Any]) -> bool:
    output = given["output"]
    name: str = given["format_"] or SUFFIXES.get(Path(output or "").suffix.lower(), "")
    return name in RENDERERS and RENDERERS[name] is render_latex


@modes(
    mode("with --explain", (*READ, "output", "explain"), when="explain"),
    mode("with --serve", (*READ, "columns", "serve", "port", "interval"), when="serve"),
    mode("with --watch", (*READ, "output", "format_", "columns", "watch", "interval", "strict"), when="watch"),
    mode("in LaTeX", (*READ, "output", "format_", "columns", "strict", *LATEX), when=lambda given: _is_latex(given)),
    mode("outside of LaTeX", (*READ, "output", "format_", "columns", "strict")),
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
    columns: Annotated[
        str | None, typer.Option(help="Only these columns, e.g. top1,flops,delta.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file.")] = None,
    latex_width: Annotated[
        str, typer.Option(help="What a table must fit: text (of article), column, page (table*), or a length: 8.4cm.")
    ] = "text",
    latex_engine: Annotated[
        str, typer.Option(help="pdflatex (fits all), xelatex or lualatex: for scripts that need a font of theirs.")
    ] = "pdflatex",
    latex_siunitx: Annotated[bool, typer.Option("--latex-siunitx", help="Align numbers with siunitx.")] = False,
    latex_caption: Annotated[str, typer.Option(help="above the table, or below.")] = "above",
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
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Serve the page on this machine, refreshed while trials run; Ctrl-C ends it."),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of --serve; 0 takes a free one.")] = 8000,
    interval: Annotated[int, typer.Option(min=1, help="Refresh interval of --watch and --serve in seconds.")] = 10,
    strict: Annotated[bool, typer.Option(help="Exit with code 3 unless every number is there.")] = False,
    trust: TrustOption = False,
) -> None:
    """Print tables: measured mean ± std over seeds, costs, and the paper's numbers beside them.

    Examples:
        farlab report head_ratio
        farlab report --table 5 -o table.tex
        farlab report head_ratio --explain 1:1 top1
        farlab report --all -f html -o page/
        farlab report --all --serve
    """
    selection = Selection(table, study, targets, profile, seeds, store, from_, all_)
    if format_ is not None and format_ not in RENDERERS:
        selection.load_plugins()
    if explain is None:
        name = chosen_format(format_, output)
    else:
        plain_text(output)
    given: dict[str, Any] = {
        "width": latex_width,
        "engine": latex_engine,
        "siunitx": latex_siunitx,
        "caption": latex_caption,
    }
    style = {name: value for name, value in given.items() if value != getattr(Style, name)}
    Style(**style)
    numbers, read = selection.numbers, selection.read
    chosen = read_columns(columns) if columns is not None else ()

    page = Watch(read, numbers, everything=all_, columns=chosen, from_files=from_ is None)
    if explain is not None:
        deliver(trace(read(), *explain), output)
    elif serve:
        serve_page(page, every=interval, port=port)
    elif is_page(name, all_, output):
        assert output is not None
        tables = write_page(output, page, every=interval if watch else None)
        raise typer.Exit(exit_code(tables, strict))
    elif watch:
        raise ConfigError("only a page can be watched: --format html -o DIRECTORY/", key="--watch")
    else:
        raise typer.Exit(
            document(read, numbers, name, output, everything=all_, columns=chosen, style=style, strict=strict)
        )


def document(
    read: Callable[[], list[Results]],
    numbers: list[int],
    format_: str,
    output: Path | None,
    *,
    everything: bool,
    columns: Sequence[str],
    style: Mapping[str, Any],
    strict: bool,
) -> int:
    """Print or write tables in one format; return the exit code."""
    tables = build_all(numbers, read(), everything=everything, columns=columns)
    deliver(sealed(RENDERERS[format_](tables, **style), format_, tables, style), output)
    return exit_code(tables, strict)


def is_page(name: str, all_: bool, output: Path | None) -> bool:
    """Whether the page with figures is meant, rather than a document with tables alone."""
    return name == PAGE and output is not None and (all_ or not output.suffix or output.is_dir())


def chosen_format(name: str | None, output: Path | None) -> str:
    """Return the format asked for, or that of the file's name, or the terminal's.

    Raises:
        ConfigError: there is no such format, or the file's name says another.
    """
    if name is not None and name not in RENDERERS:
        raise ConfigError(f"unknown format '{name}'", key="--format", choices=RENDERERS, got=name)
    if output is None:
        return name or "term"
    suffix = output.suffix.lower()
    if suffix in INSTEAD:
        raise ConfigError(f"no table is written as {suffix}; {INSTEAD[suffix]}", key="--output", where=str(output))
    own = PAGE if not suffix or output.is_dir() else SUFFIXES.get(suffix)
    if name is None and own is None:
        text = f"no format has the ending '{suffix}' (a folder, which gets the page, has none); say --format"
        raise ConfigError(text, key="--output", where=str(output), choices=SUFFIXES, got=suffix)
    if name is not None and own not in (None, name) and suffix not in ("", ".txt"):
        raise ConfigError(f"is {name}, and {output.name} is named as {own}: give one of them", key="--format")
    return name or own or PAGE


def plain_text(output: Path | None) -> None:
    """Refuse a file whose name says that it is anything but text.

    Raises:
        ConfigError: it does.
    """
    if output is not None and output.suffix.lower() not in ("", ".txt", ".md", ".log"):
        raise ConfigError(
            "an account is plain text", key="--output", where=str(output), choices=[".txt"], got=output.suffix
        )


def exit_code(tables: list[Table], strict: bool) -> int:
    """0: a table with visible gaps is a success; with ``--strict`` gaps exit 3."""
    return 3 if strict and any(table.unfinished for table in tables) else 0
