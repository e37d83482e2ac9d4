"""What a shell offers for an argument: names of studies, trials, rows, profiles and data sets, found quickly.

Each function takes what is typed so far. Nothing is ever said here: a shell shows it in the middle of the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from far.data.sources.manifest import FILE_NAME
from far.data.sources.open import DEMO
from orchestrator.plan.cells import cells
from orchestrator.store.store import Store
from orchestrator.study.lookup import SUFFIXES, files_in, study_directories
from orchestrator.study.profiles import profile_directories, profile_names
from orchestrator.workspace.settings import load_settings

MOST = 200
"""Names that are offered at most."""
Complete = Callable[[str], list[str]]


def _offered(names: Callable[[], Iterable[str]]) -> Complete:
    """Return what offers those of some names that begin as typed; where they cannot be read, there are none."""

    def complete(incomplete: str) -> list[str]:
        try:
            found = sorted({name for name in names() if name.startswith(incomplete)})
        except Exception:  # a wrong farlab.toml, a folder that may not be read: the command itself will say so
            return []
        return found[:MOST]

    complete.__doc__ = names.__doc__
    return complete


def _store() -> Store:
    return Store(load_settings().store)


@_offered
def offer_studies() -> Iterable[str]:
    """Offer studies by name, and study files and folders here."""
    yield from (path.stem for folder in study_directories() for path in files_in(folder))
    yield from _store().studies()
    yield from (path.name for path in Path.cwd().iterdir() if path.suffix in SUFFIXES)


@_offered
def offer_submitted() -> Iterable[str]:
    """Offer studies that were submitted."""
    return _store().studies()


@_offered
def offer_trials() -> Iterable[str]:
    """Offer trials by key, and by study, row and seed."""
    store = _store()
    yield from store.keys()
    yield from (f"{cell.study}/{cell.row}/{cell.seed}" for cell in cells(store))


@_offered
def offer_trials_or_studies() -> Iterable[str]:
    """Offer both."""
    yield from offer_submitted("")
    yield from offer_trials("")


@_offered
def offer_rows() -> Iterable[str]:
    """Offer rows of submitted studies."""
    return (cell.row for cell in cells(_store()))


@_offered
def offer_profiles() -> Iterable[str]:
    """Offer profiles."""
    return profile_names(profile_directories(load_settings().workspace))


@_offered
def offer_data_sets() -> Iterable[str]:
    """Offer prepared data sets."""
    yield DEMO
    yield from (path.parent.name for path in load_settings().data_root.glob(f"*/{FILE_NAME}"))
