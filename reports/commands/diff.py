"""``farlab diff``: in what two trials, or two submissions of a study, differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from far.config.differences import Difference, shown
from far.errors import ConfigError
from orchestrator.cli.completion import offer_trials_or_studies
from orchestrator.cli.console import make_console
from orchestrator.cli.fitting import cropped
from orchestrator.cli.inputs import refuse_given
from orchestrator.cli.options import JsonOption
from orchestrator.cli.trials import find_trial
from orchestrator.monitor.trial import TrialFacts, facts
from orchestrator.workspace.workspace import open_workspace
from reports.analysis.submission_difference import Side, before, compare_submissions, find_side
from reports.analysis.trial_difference import TrialDifference, compare_trials
from reports.text import number

if TYPE_CHECKING:
    from orchestrator.workspace.workspace import Workspace
    from reports.analysis.submission_difference import SubmissionDifference

WIDEST = 60
"""Characters of a value that are shown."""
POINTS = {"top1": "top-1 (%)", "top5": "top-5 (%)"}
"""Metrics whose difference is in percentage points."""


def diff(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            autocompletion=offer_trials_or_studies,
            help="A trial, as for `farlab show`; or a submitted study, or the file of one.",
        ),
    ],
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="[B]",
            autocompletion=offer_trials_or_studies,
            help="Of the same kind; default: the submission before.",
        ),
    ] = None,
    videos: Annotated[
        bool, typer.Option("--videos", help="Name the videos that only one of the trials answers.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Show in what two trials differ, or two submissions of a study: settings, code, data, numbers, videos.

    Examples:
        farlab diff 30c4 6954
        farlab diff head_ratio/1:1/0 head_ratio/2:1/0 --videos
        farlab diff head_ratio
        farlab diff head_ratio studies/head_ratio.yaml
    """
    workspace = open_workspace()
    side = find_side(first, workspace)
    if side is not None:
        refuse_given("videos", because=f"{first} is a study, not a trial")
        _submissions(side, first, second, workspace, json_)
        return
    one = facts(find_trial(first, workspace.store), workspace.store)
    if second is None:
        raise ConfigError(f"'{first}' is a trial: name the one to compare it with", key="B", where="command line")
    if find_side(second, workspace) is not None:
        raise ConfigError(f"'{first}' is a trial and '{second}' a study: name two of a kind", where="command line")
    other = facts(find_trial(second, workspace.store), workspace.store)
    found = compare_trials(one, other)
    if json_:
        both = {"first": _named(one), "second": _named(other)}
        print(json.dumps({**both, **found.as_json()}, indent=1, ensure_ascii=False))
    else:
        _print_trials(one, other, found, videos)


def _submissions(side: Side, first: str, second: str | None, workspace: Workspace, json_: bool) -> None:
    other = side if second is None else find_side(second, workspace)
    if other is None:
        raise ConfigError(f"'{first}' is a study and '{second}' is none: name two of a kind", where="command line")
    if second is None:
        side = before(first, other, workspace.store)
    found = compare_submissions(side, other, workspace.store)
    if json_:
        print(json.dumps({"first": side.name, "second": other.name, **found.as_json()}, indent=1, ensure_ascii=False))
    else:
        _print_submissions(side, other, found)


def _named(trial: TrialFacts) -> dict[str, Any]:
    return {"key": trial.key, "state": trial.state, "cells": [str(cell) for cell in trial.cells]}


def _print_trials(one: TrialFacts, other: TrialFacts, found: TrialDifference, videos: bool) -> None:
    console = make_console()
    for letter, trial in (("A", one), ("B", other)):
        cells = "; ".join(map(str, trial.cells)) or "no study names it"
        console.print(f"{letter} {trial.key} ({trial.state}): {cells}")
    if one.key == other.key:
        console.print("the same trial: what decides its numbers is equal")
    console.print(_table("settings that decide the numbers", found.settings))
    if found.idle:
        console.print(_table("settings that do not", found.idle))
    console.print(f"data and initial weights: {_contents(found.content)}")
    console.print(f"code: {_code(found)}")
    console.print(f"ran with: {_moves(found.environment) or 'the same versions on the same kind of device'}")
    console.print(_numbers(found.metrics))
    if found.answers is None:
        console.print("videos: not compared, since not both have finished with answers")
    else:
        answers = found.answers
        console.print(
            f"videos (top-1): {answers.both} answered by both, {answers.first} by A alone, {answers.second} by B "
            f"alone, {answers.neither} by neither (McNemar's exact p = {answers.p:.3g})"
        )
    for letter, names in (("A", found.answers.only_first), ("B", found.answers.only_second)) if found.answers else ():
        if videos and names:
            console.print(f"by {letter} alone: {' '.join(names)}")
    for text in found.problems:
        typer.echo(f"problem: {text}", err=True)


def _table(title: str, found: Sequence[Difference]) -> Table | str:
    if not found:
        return f"{title}: equal"
    table = Table("setting", "A", "B", title=title, title_justify="left")
    for each in found:
        table.add_row(each.key, cropped(shown(each.first), WIDEST), cropped(shown(each.second), WIDEST))
    return table


def _contents(found: Sequence[Difference]) -> str:
    texts = [f"{each.key.partition('.')[0]} {str(each.first)[:16]} -> {str(each.second)[:16]}" for each in found]
    return ", ".join(texts) or "the same content"


def _moves(found: Sequence[Difference]) -> str:
    return ", ".join(f"{each.key} {each.first} -> {each.second}" for each in found)


def _code(found: TrialDifference) -> str:
    commits = found.code[0] if found.code[0] == found.code[1] else f"{found.code[0]} -> {found.code[1]}"
    if found.source is None:
        return f"{commits}; of one it is not known which source it ran"
    return f"{commits}; {_shortened(found.source) if found.source else 'the same source of what decides the numbers'}"


def _shortened(parts: Sequence[str], most: int = 12) -> str:
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return f"source differs in {', '.join(parts[:most])}{more}"


def _numbers(found: Sequence[Difference]) -> Table:
    table = Table("number", "A", "B", "B - A", title="numbers", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in found:
        both = [value for value in (each.first, each.second) if isinstance(value, int | float)]
        change = number(both[1] - both[0], _decimals(each), signed=True) if len(both) == 2 else ""
        cells = ("" if value is None else number(value, _decimals(each)) for value in (each.first, each.second))
        table.add_row(POINTS.get(each.key, each.key), *cells, change)
    return table


def _decimals(each: Difference) -> int:
    whole = all(value is None or isinstance(value, int) for value in (each.first, each.second))
    return 0 if whole else 2 if each.key in POINTS else 4


def _print_submissions(first: Side, second: Side, found: SubmissionDifference) -> None:
    console = make_console()
    for letter, side in (("A", first), ("B", second)):
        at = side.record.get("submitted_at")
        when = f"submitted {at}" if at else "the file as it is now"
        console.print(f"{letter} {side.name}: {when}, {len(side.rows)} rows")
    if found.is_empty:
        console.print("nothing differs")
    for each in found.about:
        console.print(f"{each.key}: {shown(each.first)} -> {shown(each.second)}")
    for text, names in (("added", found.added), ("removed", found.removed)):
        for name in names:
            console.print(f"row {text}: {name}")
    for row in found.rows:
        for each in row.settings:
            console.print(f"row '{row.row}': {each.key} {shown(each.first)} -> {shown(each.second)}")
        if row.seeds and row.shared and not row.settings:
            console.print(f"row '{row.row}': other trials at seeds {', '.join(map(str, row.seeds))}")
        elif row.seeds and not row.settings:
            console.print(f"row '{row.row}': other data, weights or seeds")
    table = Table("row", "trials", "A top-1 (%)", "B top-1 (%)", "B - A", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in found.rows:
        one, other = row.top1
        change = number(other - one, 2, signed=True) if one is not None and other is not None else ""
        means = ("" if value is None else number(value, 2) for value in row.top1)
        table.add_row(row.row, f"{len(row.shared)} same, {len(row.seeds)} other", *means, change)
    console.print(table)
