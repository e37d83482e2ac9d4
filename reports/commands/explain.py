"""``farlab explain``: where trained rows look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from far.errors import ConfigError
from orchestrator.cli.options import ProfileOption, SeedsOption, TrustOption
from orchestrator.workspace.settings import load_settings
from reports.figures.explain import draw
from reports.figures.style import picture_kind, styled, write
from reports.selection import RowOption, RowsOption, Selection, StoreOption, StudyOption, TableOption, named_rows


def explain(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files.")],
    row: RowOption = None,
    rows: RowsOption = None,
    table: TableOption = None,
    study: StudyOption = None,
    profile: ProfileOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the trials; default: the first that all rows have.")] = None,
    seeds: SeedsOption = None,
    override: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE that the sweep was given.")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="Class to explain, by name or number; default: the video's true class."
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames shown of each clip.")] = 8,
    output: Annotated[Path, typer.Option("-o", "--output", help=".png, .pdf or .svg.")] = Path("explain.png"),
    store: StoreOption = None,
    trust: TrustOption = False,
) -> None:
    """Draw Grad-CAM over the same frames for several trained rows (the paper's Figures 6 and 7).

    Examples:
        farlab explain clip.mp4 --table 5
        farlab explain a.mp4 b.mp4 --study head_ratio --row 1:1 --row 2:1 -o where.pdf
    """
    missing = [video for video in videos if not video.is_file()]
    if missing:
        raise ConfigError("no such file", key="VIDEO", where=str(missing[0]))

    picture_kind(output)
    for text in override or ():
        if "=" not in text:
            raise ConfigError(f"'{text}' is no KEY=VALUE", key="--set", where="command line")
    if not (table or study):
        raise ConfigError("name one study: --study STUDY or --table N", where="command line")
    results = Selection(table, study, override, profile, seeds, store).read_one()
    with styled():
        names = named_rows(row, rows, results)
        root = load_settings().data_root
        drawing = draw(results, videos, names, seed=seed, target=target, frames=frames, data_root=root)
        write(drawing, output)
