"""``farlab gc``: what of the store can go, and how much room that makes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from far.errors import ConfigError
from orchestrator.cli.completion import offer_trials_or_studies
from orchestrator.cli.console import make_console
from orchestrator.cli.datasets import progress_bar
from orchestrator.cli.options import JsonOption
from orchestrator.cli.trials import find_trial
from orchestrator.estimate.format import size
from orchestrator.garbage.names import read_names
from orchestrator.garbage.removal import put_back, remove
from orchestrator.garbage.survey import CATEGORIES, SAFE, survey
from orchestrator.plan.cells import cells
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from orchestrator.garbage.survey import Item, Survey
    from orchestrator.store.store import Store

SHOWN = 10
"""Items of each category that a terminal gets."""


def gc(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CATEGORY...]",
            autocompletion=lambda incomplete: [name for name in CATEGORIES if name.startswith(incomplete)],
            help=f"{', '.join(CATEGORIES)}; default: all are shown, and --apply removes {', '.join(SAFE)}.",
            show_default=False,
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Remove it; without, it is only shown.")] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TRIAL|STUDY",
            autocompletion=offer_trials_or_studies,
            help="Leave this trial, or all of this study, alone; may be repeated.",
        ),
    ] = None,
    json_: JsonOption = False,
) -> int:
    """Show what of the store can go, with its bytes; with --apply, remove it. Running trials are left alone.

    Results that a study names always stay. Decoded videos, checkpoints, trials and earlier results go only where they
    are named: nobody can tell whether they are still wanted. Exit 3 if something could not be removed.

    Examples:
        farlab gc
        farlab gc --apply
        farlab gc optimizer --keep head_ratio --apply
        farlab gc trials checkpoints --json
    """
    for name in what or ():
        if name not in CATEGORIES:
            raise ConfigError(f"unknown category '{name}'", key="CATEGORY", choices=CATEGORIES, got=name)
    workspace = open_workspace()
    store = workspace.store
    if workspace.remote_store is not None:
        raise ConfigError(
            "gc works on a store in a folder; one at a URL is not cleaned, since other machines may be at work on it",
            key="store",
        )
    wanted = tuple(what or (SAFE if apply else CATEGORIES))
    kept = _kept(keep or [], store)
    names = read_names(workspace)
    if apply:
        for key in put_back(store, names):
            print(f"trial {key} is put back: gc was killed while it looked whether a study names it", file=sys.stderr)
    with progress_bar("trials looked at") as show:
        found = survey(workspace, names, wanted, kept, show)
    for text in found.problems:
        print(f"problem: {text}", file=sys.stderr)
    if not apply:
        _show(found, wanted, what or [], json_)
        return 0
    gone: list[Item] = []
    left = []
    with progress_bar("removed") as show:
        step = _counting(gone, len(found.items), show)
        for text in remove(store, found.items, lambda: read_names(workspace), step):
            left.append(text)
            print(f"left: {text}", file=sys.stderr)
    if json_:
        print(json.dumps({**_as_json(gone), "left": left, "problems": found.problems}, indent=1, ensure_ascii=False))
    else:
        for category in wanted:
            own = [item for item in gone if item.category == category]
            print(f"{category}: removed {len(own)}, {size(sum(item.size for item in own))}")
    return 3 if left or found.problems else 0


def _kept(words: list[str], store: Store) -> set[str]:
    """Return the trials that are left alone."""
    kept: set[str] = set()
    for word in words:
        own = {cell.key for cell in cells(store) if cell.study == word}
        kept |= own or {find_trial(word, store).key}
    return kept


def _counting(gone: list[Item], total: int, show: Callable[[int, int], None]) -> Callable[[Item], None]:
    def step(item: Item) -> None:
        gone.append(item)
        show(len(gone), total)

    return step


def _show(found: Survey, wanted: tuple[str, ...], named: list[str], json_: bool) -> None:
    if json_:
        print(json.dumps({**_as_json(found.items), "problems": found.problems}, indent=1, ensure_ascii=False))
        return
    console = make_console()
    table = Table("category", "what", "number", "bytes", "removed by", title="what can go", title_justify="left")
    for column in table.columns[2:4]:
        column.justify = "right"
    for category in wanted:
        own = found.of(category)
        by = "farlab gc --apply" if category in SAFE and not named else f"farlab gc {category} --apply"
        total = size(sum(item.size for item in own))
        table.add_row(category, CATEGORIES[category], str(len(own)), total, by if own else "")
    console.print(table)
    for category in named:
        own = sorted(found.of(category), key=lambda item: -item.size)
        for item in own[:SHOWN]:
            console.print(f"{category}: {item.text}, {size(item.size)}")
        if len(own) > SHOWN:
            console.print(f"{category}: and {len(own) - SHOWN} more; --json has all")
    console.print("nothing was removed")


def _as_json(items: tuple[Item, ...] | list[Item]) -> dict[str, object]:
    plain = [{**asdict(item), "path": str(item.path)} for item in items]
    totals = {name: sum(item.size for item in items if item.category == name) for name in CATEGORIES}
    return {"bytes": totals, "items": plain}
