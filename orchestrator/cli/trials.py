"""The trial that a word on the command line means: by its key, by its files, or by study, row and seed."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from far.store.atomic import is_there
from far.store.paths import TrialPaths
from orchestrator.cli.completion import offer_trials
from orchestrator.plan.cells import cells
from orchestrator.study.names import find_name

if TYPE_CHECKING:
    from orchestrator.store.store import Store

TRIAL_HELP = "A trial: its key or a prefix of it, its folder, or [STUDY/]ROW/SEED."
TrialArgument = Annotated[str, typer.Argument(metavar="TRIAL", help=TRIAL_HELP, autocompletion=offer_trials)]


def find_trial(text: str, store: Store) -> TrialPaths:
    """Return where the files of a trial lie.

    Args:
        text: its key or the beginning of it, its folder or a file in that, or ``ROW/SEED`` or ``STUDY/ROW/SEED``; the
            seed may be left out where a row has one trial.
        store: where trials are looked for.

    Raises:
        ConfigError: it is none of these, or may mean several trials.
    """
    if is_there(text):
        path = Path(text)
        paths = TrialPaths(path if path.is_dir() else path.parent)
        if paths.trial.is_file() or paths.result.is_file():
            return TrialPaths(paths.directory.resolve())
    keys = store.keys()
    begun = [key for key in keys if key.startswith(text)]
    named = _named(text, store)
    if len({*begun, *named}) == 1:
        return store.paths(next(iter({*begun, *named})))
    if named:
        where = sorted(label for labels in named.values() for label in labels)
        raise ConfigError(f"'{text}' may mean {len(named)} trials: name the seed", choices=where, got=text)
    if begun or not text:
        raise ConfigError(f"{len(begun)} trials start with '{text}'", choices=begun[:10], got=text)
    known = sorted({f"{cell.row}/{cell.seed}" for cell in cells(store)}) or keys
    raise ConfigError(f"no trial starts with '{text}', and no row and seed is called so", choices=known[:10], got=text)


def _named(text: str, store: Store) -> dict[str, list[str]]:
    """Return the trials that a row, with or without study and seed, stands for; with their full names."""
    by_label: dict[str, dict[str, str]] = defaultdict(dict)
    for cell in cells(store):
        whole = f"{cell.study}/{cell.row}/{cell.seed}"
        for label in (whole, f"{cell.row}/{cell.seed}", f"{cell.study}/{cell.row}", cell.row):
            by_label[label][whole] = cell.key
    meant = find_name(text, by_label)
    found: dict[str, list[str]] = defaultdict(list)
    for whole, key in by_label[meant].items() if meant is not None else ():
        found[key].append(whole)
    return dict(found)
