"""``farlab figure`` and ``farlab explain``: pictures for a paper, PNG or PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from orchestrator.cli.inputs import mode, modes
from orchestrator.commands.options import ProfileOption, ResultTargets, SeedsOption

if TYPE_CHECKING:
    from reports.results.results import Results

TableOption = Annotated[
    list[str] | None, typer.Option("--table", "-t", help="The study of this table of the paper.", show_default=False)
]
StudyOption = Annotated[list[str] | None, typer.Option("--study", help="A study file or name.", show_default=False)]
RowOption = Annotated[
    list[str] | None,
    typer.Option("--row", "-r", help="Only this row; may be repeated.", show_default=False),
]
RowsOption = Annotated[str | None, typer.Option(help="The same, names separated by commas.", show_default=False)]
StoreOption = Annotated[Path | None, typer.Option(help="Read this store instead of the workspace's.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("figure")
    @modes(
        mode(
            "on figure 2, which is drawn from the patterns alone",
            ("name", "row", "rows", "video", "output"),
            when=lambda given: given["name"] in ("2", "patterns"),
        ),
        mode(
            "on this figure",
            ("name", "targets", "table", "study", "profile", "seeds", "row", "rows", "output", "store"),
        ),
    )
    def figure(
        name: Annotated[str, typer.Argument(help="2 or patterns, pareto, curves, classes, order.")],
        targets: ResultTargets = None,
        table: TableOption = None,
        study: StudyOption = None,
        profile: ProfileOption = None,
        seeds: SeedsOption = None,
        row: RowOption = None,
        rows: RowsOption = None,
        video: Annotated[Path | None, typer.Option(help="Draw figure 2 on this video.", show_default=False)] = None,
        output: Annotated[Path | None, typer.Option("-o", "--output", help=".png, .pdf or .svg.")] = None,
        store: StoreOption = None,
    ) -> None:
        """Draw a figure: attention patterns, accuracy against FLOPs, learning curves, classes, order of frames."""
        from orchestrator.workspace.settings import load_settings
        from reports.figures import FIGURES, NUMBERS, Options, names
        from reports.figures.style import picture_kind, save, styled

        chosen = NUMBERS.get(name, name)
        if chosen == "explain":
            raise ConfigError(f"figure {name} is drawn by `farlab explain VIDEO... --table N`", key="NAME")
        if chosen not in FIGURES:
            raise ConfigError(f"unknown figure '{name}'", choices=names(), got=name)
        spec = FIGURES[chosen]
        if output is not None:
            picture_kind(output)
        results = one_study(table, study, profile, seeds, targets, store) if spec.needs_results else None
        settings = load_settings()
        chosen_rows = named_rows(row, rows, results)
        options = Options(chosen_rows, video, data_root=settings.data_root, weights_root=settings.weights_root)
        path = output or Path(f"{chosen}.png" if results is None else f"{chosen}-{results.study}.png")
        with styled():
            save(spec.draw(results, options), path)
        typer.echo(f"wrote {path}")

    @app.command("explain")
    def explain(
        videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files.")],
        row: RowOption = None,
        rows: RowsOption = None,
        table: TableOption = None,
        study: StudyOption = None,
        profile: ProfileOption = None,
        seed: Annotated[int | None, typer.Option(help="Of the trials; default: the first finished.")] = None,
        seeds: SeedsOption = None,
        override: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE that the sweep was given.")] = None,
        target: Annotated[int | None, typer.Option("--class", min=0, help="Class; default: each row's answer.")] = None,
        frames: Annotated[int, typer.Option(min=1, help="Frames shown of each clip.")] = 8,
        output: Annotated[Path, typer.Option("-o", "--output", help=".png, .pdf or .svg.")] = Path("explain.png"),
        store: StoreOption = None,
    ) -> None:
        """Draw Grad-CAM over the same frames for several trained rows (the paper's Figures 6 and 7)."""
        missing = [video for video in videos if not video.is_file()]
        if missing:
            raise ConfigError("no such file", key="VIDEO", where=str(missing[0]))
        from reports.figures.explain import draw
        from reports.figures.style import picture_kind, save, styled

        picture_kind(output)
        for text in override or ():
            if "=" not in text:
                raise ConfigError(f"'{text}' is no KEY=VALUE", key="--set", where="command line")
        if not (table or study):
            raise ConfigError("name one study: --study STUDY or --table N", where="command line")
        results = one_study(table, study, profile, seeds, override, store)
        with styled():
            names = named_rows(row, rows, results)
            save(draw(results, videos, names, seed=seed, target=target, frames=frames), output)
        typer.echo(f"wrote {output}")


def named_rows(row: list[str] | None, rows: str | None, results: Results | None) -> tuple[str, ...]:
    """Return the rows that ``--row A --row B`` or ``--rows A,B`` name; without a study, the attention patterns.

    Raises:
        ConfigError: there is no such row, or it is not clear which is meant.
    """
    from far.architecture.patterns import PATTERNS
    from orchestrator.study.names import read_names

    if row and rows is not None:
        raise ConfigError("--row and --rows say the same; give one of them", key="--rows", where="command line")
    if rows is not None:
        known = list(PATTERNS) if results is None else [each.name for each in results.rows]
        what = "attention pattern" if results is None else "row"
        return tuple(read_names(rows, known, what=what, key="--rows"))
    named = row or () if results is None else (results.row(name).name for name in row or ())
    return tuple(dict.fromkeys(named))


def one_study(
    table: list[str] | None,
    study: list[str] | None,
    profile: str | None,
    seeds: str | None,
    targets: list[str] | None,
    store: Path | None,
) -> Results:
    """Return the results of the one study that is asked for.

    Raises:
        ConfigError: none is, or several are.
    """
    from orchestrator.commands.options import split_targets
    from reports.commands.report import load, parse_tables

    wrong = ConfigError("name one study: STUDY or --table N", where="command line")
    if not (table or study or split_targets(targets or [])[0]):
        raise wrong
    found = load(parse_tables(table or []), study, False, profile, seeds, targets, store)
    if len(found) != 1:
        raise wrong
    for text in found[0].remarks:
        typer.echo(f"note: {text}", err=True)
    return found[0]
