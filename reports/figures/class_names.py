"""The names of a data set's classes: in figures, and as ``--class`` takes them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from far.data.sources.demo import MOTIONS
from far.data.sources.manifest import read_header
from far.data.sources.open import DEMO, locate
from far.errors import ConfigError, DataError
from orchestrator.study.names import find_name
from reports.results.trials import TrialRecord

MOST_SUGGESTED = 12


def class_names(trials: Sequence[TrialRecord], classes: int, data_root: Path) -> list[str]:
    """Return the names of the classes that trials tell apart; ``class 3`` where the data set is not on this machine.

    Args:
        trials: that ran on one data set.
        classes: number of classes.
        data_root: folder of data sets.
    """
    named = next((trial for trial in trials if trial.setting("data", "source")), None)
    labels: Sequence[str] = ()
    if named is not None:
        source = str(named.setting("data", "source"))
        labels = tuple(MOTIONS) if source == DEMO else _of_manifest(source, data_root)
    return list(labels[:classes]) if len(labels) >= classes else [f"class {i}" for i in range(classes)]


def _of_manifest(source: str, data_root: Path) -> Sequence[str]:
    try:
        return read_header(locate(source, data_root)).labels
    except (ConfigError, DataError):
        return ()


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
