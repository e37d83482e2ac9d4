"""Which trials somebody still names: studies, their searches, and trials that start from another's weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from orchestrator.plan.cells import cells, earlier_cells
from orchestrator.plan.lockfile import read_lockfile
from orchestrator.plan.proposals import proposed_keys

if TYPE_CHECKING:
    from orchestrator.workspace.workspace import Workspace


@dataclass(frozen=True)
class Names:
    """Who names which trials of a store.

    Attributes:
        named: in cells of studies as they were last submitted, and proposed by their searches.
        pinned: whose files are the initial weights of others, by content.
        before: by trial that stood in an earlier submission alone, in which cell.
    """

    named: frozenset[str]
    pinned: frozenset[str]
    before: Mapping[str, str]

    def is_named(self, key: str) -> bool:
        """Return whether a trial is to stay."""
        return key in self.named or key in self.pinned


def read_names(workspace: Workspace) -> Names:
    """Return who names which trials now.

    Raises:
        ConfigError: a submission cannot be read, so that nobody can tell what it names.
    """
    store = workspace.store
    for name in store.studies():
        for path in store.study(name).submissions():
            if not read_lockfile(path):
                raise ConfigError(
                    "is damaged, so that nobody can tell which trials it names: sweep the study again, or remove "
                    "the file",
                    where=str(path),
                )
    named = {cell.key for cell in cells(store)}
    for name in store.studies():
        named |= proposed_keys(store.study(name).search)
    before = {cell.key: str(cell) for cell in earlier_cells(store) if cell.key not in named}
    return Names(frozenset(named), frozenset(_pinned(workspace)), before)


def _pinned(workspace: Workspace) -> Iterator[str]:
    """Yield the trials among whose files somebody's initial weights lie."""
    root = workspace.store.trials.resolve()
    for folder, config in configs(workspace):
        weights = ((config or {}).get("init") or {}).get("weights")
        place = (folder / Path(str(weights)).expanduser()).resolve() if weights else None
        if place is not None and place.is_relative_to(root) and place != root:
            yield place.relative_to(root).parts[0]


def configs(workspace: Workspace) -> Iterator[tuple[Path, Any]]:
    """Yield the configuration of each submitted row and of each trial, and where its weights are looked for."""
    store = workspace.store
    for name in store.studies():
        for path in store.study(name).submissions():
            rows: Collection[Any] = read_lockfile(path).get("rows", {}).values()
            yield from ((workspace.settings.weights_root, row.get("config")) for row in rows)
    keys = store.keys()
    for key in keys:
        spec = store.trial(key)
        yield Path(spec.get("weights_root") or workspace.settings.weights_root), spec.get("config")
