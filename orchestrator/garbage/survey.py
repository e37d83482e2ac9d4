"""What of a store can go: by category, what it is, where, and how many bytes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from far.data.decoding.disk_budget import FOLDER, is_counted
from far.errors import FarError
from far.store.atomic import is_abandoned
from far.store.paths import TrialPaths
from far.train.checkpoint import complete
from far.train.network_only import removable
from orchestrator.garbage.names import Names, configs
from orchestrator.monitor.trial import folder_size
from orchestrator.store.store import is_held

if TYPE_CHECKING:
    from orchestrator.store.store import Store
    from orchestrator.workspace.workspace import Workspace

CATEGORIES = {
    "scratch": "half-written files of processes that are gone, damaged checkpoints, copies read from MLflow",
    "artifacts": "MLflow's files of runs that its data base does not have",
    "optimizer": "the optimiser's state of finished trials; their networks stay",
    "frames": "decoded videos (data.cache), which trials decode again where they need them",
    "earlier": "what trials had come to before they were run again",
    "checkpoints": "checkpoints of trials that no study names; their numbers stay",
    "trials": "trials that no study names, with all they have come to",
}
SAFE = ("scratch", "artifacts", "optimizer")
"""What is removed where no category is named: nothing of it can be told by a table, a test or an explanation."""
REMOVED = "removed"
"""Suffix of a trial's folder while it is made sure that nobody names it."""
_RUN = re.compile(r"[0-9a-f]{32}")
_EARLIER_RESULT = re.compile(r"result\.\d+\.json")


@dataclass(frozen=True)
class Item:
    """Something that can go.

    Attributes:
        category: of ``CATEGORIES``.
        text: what it is.
        path: file or folder; of ``optimizer`` the checkpoint that becomes smaller.
        size: bytes that go.
        key: of the trial that it belongs to, if to one.
    """

    category: str
    text: str
    path: Path
    size: int
    key: str | None = None


@dataclass(frozen=True)
class Survey:
    """What can go, and what could not be looked at."""

    items: tuple[Item, ...]
    problems: tuple[str, ...]

    def of(self, category: str) -> list[Item]:
        """Return what is in a category."""
        return [item for item in self.items if item.category == category]


def survey(
    workspace: Workspace, names: Names, wanted: Collection[str], keep: Collection[str], show: Callable[[int, int], None]
) -> Survey:
    """Look through a store.

    Args:
        workspace: whose store.
        names: who names which trials.
        wanted: the categories.
        keep: keys of trials that are left alone whatever they are.
        show: called with (trials done, trials in all).
    """
    store, found, problems = workspace.store, list[Item](), list[str]()
    keys = store.keys()
    for place, key in enumerate(keys, start=1):
        try:
            if key not in keep:
                found += _of_trial(store, key, names, "optimizer" in wanted)
        except FarError as error:
            problems.append(str(error))
        show(place, len(keys))
    found += _scratch(store)
    found += _artifacts(workspace)
    found += _frames(workspace)
    return Survey(tuple(item for item in found if item.category in wanted), tuple(problems))


def _of_trial(store: Store, key: str, names: Names, weigh: bool) -> Iterator[Item]:
    """Yield what can go of a trial; its checkpoints are only looked into, which takes torch, if ``weigh`` says so."""
    paths = store.paths(key)
    if key in names.pinned or is_held(paths.lock):
        return
    state = store.state(key)
    who = names.before.get(key) or f"profile {store.trial(key).get('profile')}"
    if not names.is_named(key):
        yield Item("trials", f"trial {key} ({state}; {who})", paths.directory, folder_size(paths.directory), key)
        if paths.checkpoints.is_dir() and (size := folder_size(paths.checkpoints)):
            yield Item("checkpoints", f"of trial {key} ({state}; {who})", paths.checkpoints, size, key)
    for path in _earlier(paths):
        size = folder_size(path) if path.is_dir() else path.stat().st_size
        yield Item("earlier", f"of trial {key}: {path.name}", path, size, key)
    for _, path in complete(paths.checkpoints) if weigh and state == "finished" else ():
        if size := removable(path):
            yield Item("optimizer", f"of trial {key}: {path.name}", path, size, key)


def _earlier(paths: TrialPaths) -> list[Path]:
    results = [each for each in paths.directory.iterdir() if _EARLIER_RESULT.fullmatch(each.name)]
    return sorted([*results, *([paths.earlier] if paths.earlier.is_dir() else [])])


def _scratch(store: Store) -> Iterator[Item]:
    """Yield what nobody will look at again, of the store and of each trial that nobody works on."""
    folders = [store.root, store.trials]
    keys = store.keys()
    for key in keys:
        paths = store.paths(key)
        if not is_held(paths.lock):
            folders += [paths.directory, paths.checkpoints]
            for path in [*paths.checkpoints.glob("epoch-*.damaged"), *paths.checkpoints.glob("epoch-*.partial")]:
                yield Item("scratch", f"{path.name} of trial {key}", path, folder_size(path), key)
    for folder in folders:
        for path in sorted(folder.glob(".*")) if folder.is_dir() else ():
            if is_abandoned(path, REMOVED):
                yield Item("scratch", f"half-written {path.name}", path, _size(path))
    cache = store.root / "mlflow-cache"
    if cache.is_dir():
        yield Item("scratch", "copies that `farlab report --from` has fetched", cache, folder_size(cache))


def _size(path: Path) -> int:
    return folder_size(path) if path.is_dir() and not path.is_symlink() else path.lstat().st_size


def _artifacts(workspace: Workspace) -> Iterator[Item]:
    """Yield artifacts of runs that the store's own MLflow data base does not have; of a server nobody can tell."""
    base, root = workspace.store.root / "mlflow.db", workspace.store.root / "mlartifacts"
    if workspace.settings.tracking_uri != f"sqlite:///{base}" or not (base.is_file() and root.is_dir()):
        return
    folders = [path for path in sorted(root.glob("*/*")) if _RUN.fullmatch(path.name) and path.is_dir()]
    try:  # asked after the folders: a run stands in the data base before it has one
        with closing(sqlite3.connect(f"file:{base}?mode=ro", uri=True, timeout=5)) as opened:
            known = {run for (run,) in opened.execute("select run_uuid from runs")}
    except sqlite3.Error:
        return
    for path in folders:
        if path.name not in known:
            yield Item("artifacts", f"of run {path.name} of {path.parent.name}", path, folder_size(path))


def _frames(workspace: Workspace) -> Iterator[Item]:
    """Yield the folders of decoded videos: of the workspace's data sets, and those that configurations name."""
    root = workspace.settings.data_root
    data_sets = [path for path in root.glob("*") if path.is_dir()] or [root]
    names = {FOLDER}
    for _, config in configs(workspace):
        if named := ((config or {}).get("data") or {}).get("cache_folder"):
            names.add(str(named))
    folders = set()
    for name in names:
        for data_set in data_sets:  # to whose folder a relative one is relative
            with suppress(OSError, RuntimeError, ValueError):  # no user of this name, or no name for a folder
                if (folder := data_set / Path(name).expanduser()).is_dir():
                    folders.add(folder.resolve())
    for folder in sorted(folders):
        size = 0
        for path in folder.glob("*"):  # nothing where it cannot be read
            with suppress(FileNotFoundError):
                size += path.stat().st_size if is_counted(path.name) else 0
        if size:
            yield Item("frames", f"in {folder}", folder, size)
