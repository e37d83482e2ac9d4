"""``farlab figure``: pictures for a paper, PNG or PDF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from far.errors import ConfigError
from far.plugins import load_plugin
from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import PluginOption, ProfileOption, ResultTargets, SeedsOption, TrustOption
from orchestrator.workspace.plugins import load_workspace_plugins
from orchestrator.workspace.settings import load_settings
from reports.figures import FIGURES, NUMBERS, Options, drawn, draws_quoted, names, needs_results
from reports.figures.style import picture_kind, styled, write
from reports.selection import (
    RowOption,
    RowsOption,
    Selection,
    StoreOption,
    StudyOption,
    TableOption,
    named_rows,
)

OF_RESULTS = (
    "name",
    "targets",
    "table",
    "study",
    "profile",
    "seeds",
    "row",
    "rows",
    "output",
    "store",
    "trust",
    "plugin",
)
"""Inputs of a figure that is drawn from results."""


@modes(
    mode(
        "on figure 2, which is drawn from the patterns alone",
        ("name", "row", "rows", "video", "output", "plugin", "trust"),
        when=lambda given: not needs_results(given["name"]),
    ),
    mode("on this figure", (*OF_RESULTS, "quoted"), when=lambda given: draws_quoted(given["name"])),
    mode("on this figure", OF_RESULTS),
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
    quoted: Annotated[bool, typer.Option("--quoted", help="Draw the study's quoted rows too (pareto).")] = False,
    video: Annotated[Path | None, typer.Option(help="Video to draw figure 2 on.", show_default=False)] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help=".png, .pdf or .svg.")] = None,
    store: StoreOption = None,
    plugin: PluginOption = None,
    trust: TrustOption = False,
) -> None:
    """Draw a figure: attention patterns, accuracy against FLOPs, learning curves, classes, order of frames.

    Examples:
        farlab figure 2
        farlab figure curves head_ratio -o curves.pdf
        farlab figure classes --table 5 --row 1:1
    """
    chosen = NUMBERS.get(name, name)
    if chosen == "explain":
        raise ConfigError(f"figure {name} is drawn by `farlab explain VIDEO... --table N`", key="NAME")
    selection = Selection(table, study, targets, profile, seeds, store)
    for each in plugin or ():
        load_plugin(each)
    load_workspace_plugins()
    if chosen not in FIGURES:
        selection.load_plugins()
    if chosen not in FIGURES:
        raise ConfigError(f"unknown figure '{name}'", choices=names(), got=name)
    spec = FIGURES[chosen]
    if output is not None:
        picture_kind(output)
    results = selection.read_one() if spec.needs_results else None
    settings = load_settings()
    chosen_rows = named_rows(row, rows, results)
    options = Options(chosen_rows, video, data_root=settings.data_root, weights_root=settings.weights_root)
    options = replace(options, quoted=quoted)
    path = output or Path(f"{chosen}.png" if results is None else f"{chosen}-{results.study}.png")
    with styled():
        write(drawn(chosen, results, options), path)
