"""Removing it: under the trial's lock, and never what a sweep that begins meanwhile needs.

A trial that no study names is first renamed, then the studies are read again, and only then it is deleted. A sweep
writes down what it names and then looks whether all that it takes for done is still there. So one of the two always
sees the other. A kill at any moment leaves the trial where it was, or under a name by which the next call puts it back
or goes on.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from far.data.decoding.disk_budget import Budget
from far.errors import FarError
from far.store.atomic import is_abandoned, scratch_path, storage_errors
from far.store.lock import LockedError
from far.train.network_only import strip
from orchestrator.garbage.survey import REMOVED, Item

if TYPE_CHECKING:
    from orchestrator.garbage.names import Names
    from orchestrator.store.store import Store

AT_ONCE = 32
"""Trials for which the studies are read again once."""
_HIDDEN = re.compile(rf"\.(.+)\.[0-9a-f]{{8}}\.\d+\.{REMOVED}")

ReadNames = Callable[[], "Names"]
Done = Callable[[Item], None]


def remove(store: Store, items: Iterable[Item], names: ReadNames, done: Done) -> Iterator[str]:
    """Remove what a survey has found; yield why something was left.

    Args:
        store: whose.
        items: what is to go.
        names: reads again who names which trials.
        done: called with what has gone.

    Raises:
        StorageError: the store cannot be written.
    """
    by_kind: dict[bool, list[Item]] = {True: [], False: []}
    for item in items:
        by_kind[item.category == "trials"].append(item)
    for item in by_kind[False]:
        if left := _remove(store, item, names):
            yield left
        else:
            done(item)
    for batch in _batches(by_kind[True]):
        yield from _remove_trials(store, batch, names, done)


def put_back(store: Store, names: Names) -> list[str]:
    """Put trials back that a killed call had renamed and that a study names; return their keys."""
    found = []
    for path in sorted(store.trials.glob(f".*.{REMOVED}")) if store.trials.is_dir() else ():
        match = _HIDDEN.fullmatch(path.name)
        if match and is_abandoned(path, REMOVED) and names.is_named(match[1]):
            place = store.trials / match[1]
            if not place.exists():
                path.rename(place)
                found.append(match[1])
    return found


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _remove(store: Store, item: Item, names: ReadNames) -> str | None:
    """Remove something that is no whole trial; return why not, if it was left."""
    if item.key is None:
        with storage_errors(item.path):
            try:
                Budget.clear(item.path) if item.category == "frames" else _delete(item.path)
            except BlockingIOError:
                return f"{item.text}: another process holds its lock"
        return None
    if not item.path.exists():
        return None  # and a lock would make the trial's folder again
    try:
        lock = store.lock_trial(item.key).acquire()
    except LockedError as error:
        return f"{item.text}: {error}"
    with lock:
        if item.category == "checkpoints" and names().is_named(item.key):
            return f"{item.text}: a study names it now"
        if not item.path.exists() or (item.category == "optimizer" and store.state(item.key) != "finished"):
            return f"{item.text}: it has changed meanwhile"
        try:
            with storage_errors(item.path):
                if item.category == "optimizer":
                    strip(item.path)
                else:
                    _delete(item.path)
        except FarError as error:
            if error.exit_code == 3:
                raise
            return str(error)
    return None


def _remove_trials(store: Store, items: list[Item], names: ReadNames, done: Done) -> Iterator[str]:
    hidden: list[tuple[Item, Path]] = []
    for item in items:
        assert item.key is not None
        if not item.path.exists():
            continue
        try:
            with store.lock_trial(item.key).acquire(), storage_errors(item.path):
                place = scratch_path(item.path, REMOVED)
                item.path.rename(place)
                hidden.append((item, place))
        except LockedError as error:
            yield f"{item.text}: {error}"
    now = names()
    for item, place in hidden:
        with storage_errors(place):
            if now.is_named(str(item.key)) and not item.path.exists():
                place.rename(item.path)
                yield f"{item.text}: a study names it now"
                continue
            partial = scratch_path(item.path)
            place.rename(partial)
            _delete(partial)
        done(item)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
