"""``farlab cost``: FLOPs and parameters of the rows of a table, a study or a profile, counted exactly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from far.config import parse_override, resolve
from far.errors import ConfigError
from far.text import rounded
from orchestrator.cli.completion import offer_studies
from orchestrator.cli.options import JsonOption, ProfileOption, load_targets, split_targets
from orchestrator.study import find_profile
from orchestrator.study.paper import result_tables
from orchestrator.study.profiles import profile_directories
from orchestrator.workspace.settings import load_settings
from reports.paper.costs import GIGA, MEGA, cost_of_study, cost_of_table, cost_of_trial
from reports.selection import parse_tables

if TYPE_CHECKING:
    from reports.paper.costs import CostTable


def cost(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY...] [KEY=VALUE...]",
            autocompletion=offer_studies,
            help="Studies, then overrides.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", "-t", help="The paper's tables at the paper's scale: 5, or 2-8.", show_default=False),
    ] = None,
    profile: ProfileOption = None,
    json_: JsonOption = False,
) -> None:
    """Print exact FLOPs and parameters beside the paper's digits; nothing is built or run.

    Without arguments: all of the paper's tables of results. JSON is one object for one table, a list for several.

    Examples:
        farlab cost --table 5
        farlab cost my_study.yaml --json
    """
    tables = chosen(targets or [], table or [], profile)
    if json_:
        found = [each.as_json() for each in tables]
        typer.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        return
    typer.echo("\n\n".join(text(each) for each in tables))


def chosen(targets: list[str], table: list[str], profile: str | None) -> list[CostTable]:
    """Return the tables that the arguments ask for.

    Raises:
        ConfigError: they contradict each other, or name what does not exist.
    """
    names, overrides = split_targets(targets)
    if table and (targets or profile):
        raise ConfigError("--table is counted at the paper's scale; name the study instead", key="--table")
    if names:
        return [cost_of_study(study) for study in load_targets(targets, profile, None)]
    if profile or overrides:
        return [_profile_cost(profile, overrides)]
    return [cost_of_table(number) for number in (parse_tables(table) if table else result_tables())]


def _profile_cost(name: str | None, overrides: list[str]) -> CostTable:
    settings = load_settings()
    profile = find_profile(name or settings.profile, profile_directories(settings.workspace))
    return cost_of_trial(profile.name, resolve([*profile.layers, *map(parse_override, overrides)]))


def text(table: CostTable) -> str:
    """Lay a table out for a terminal, with the paper's digits and what to know about them."""
    width = max(len("row"), *(len(row.row) for row in table.rows))
    lines = [
        table.title,
        f"{'row':{width}}  {'FLOPs':>16}  {'(G)':>9}  {'paper':>6}  {'params':>12}  {'(M)':>8}  {'paper':>6}",
    ]
    for row in table.rows:
        flops, params = rounded(row.flops / GIGA, 4), rounded(row.params / MEGA, 4)
        cells = [f"{row.row:{width}}", f"{row.flops:>16,}", f"{flops:>9}", _paper(row.paper.get("flops"))]
        cells += [f"{row.params:>12,}", f"{params:>8}", _paper(row.paper.get("params"))]
        lines.append("  ".join(cells))
    return "\n".join([*lines, *table.notes])


def _paper(number: float | None) -> str:
    return f"{'-' if number is None else number:>6}"
