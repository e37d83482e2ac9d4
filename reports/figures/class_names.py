"""The names of a data set's classes: in figures, and as ``--class`` takes them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from far.data.sources.classes import class_names as names_of_trial
from far.data.sources.classes import numbered
from far.errors import ConfigError
from far.store.paths import TrialPaths
from orchestrator.study.names import find_name
from reports.results.trials import TrialRecord

MOST_SUGGESTED = 12


def class_names(trials: Sequence[TrialRecord], classes: int, data_root: Path) -> list[str]:
    """Return the names of the classes that trials tell apart; ``class 3`` where nothing on this machine knows them.

    Args:
        trials: that ran on one data set.
        classes: number of classes.
        data_root: folder of data sets.
    """
    for trial in trials:
        source = trial.setting("data", "source")
        if trial.directory is not None and source:
            paths = TrialPaths(trial.directory)
            if names := names_of_trial(paths, str(source), classes, trial.identity, data_root):
                return list(names)
    return list(numbered(classes))


def find_class(wanted: str, names: Sequence[str]) -> int:
    """Return the number of the class that is meant, by its name or its number.

    Raises:
        ConfigError: there is none, or several are spelled nearly so.
    """
    found = find_name(wanted, names, key="--class")
    if found is not None:
        return names.index(found)
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(names):
        return int(wanted)
    raise ConfigError(
        f"there is no class '{wanted}'; classes are 0 to {len(names) - 1}, or their names",
        key="--class",
        choices=_near(wanted, names),
        got=wanted,
    )


def _near(wanted: str, names: Sequence[str]) -> list[str]:
    """Return the names that may have been meant, the nearest first; all, where they are few or none is near."""
    if len(names) <= MOST_SUGGESTED:
        return list(names)
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), folded, n=MOST_SUGGESTED, cutoff=0.4)
    inside = [name for name in folded if wanted.casefold() in name]
    return [folded[name] for name in dict.fromkeys([*inside, *near])][:MOST_SUGGESTED]
