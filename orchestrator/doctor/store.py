"""The health of a store: records that cannot be read, trials that were interrupted, sweeps that were killed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from far.errors import FarError
from far.store.atomic import read_json
from orchestrator.doctor.finding import Finding
from orchestrator.plan.cells import cells
from orchestrator.store.store import Store, is_held

SHOWN = 5
"""Trials that a line names; the rest is counted."""


def findings(store: Store) -> Iterator[Finding]:
    """Yield what there is to say of a store's records and locks."""
    states: dict[str, list[str]] = defaultdict(list)
    keys = store.keys()
    unreadable = []
    for key in keys:
        try:
            state = store.state(key)
            readable = bool(store.trial(key).get("config"))
        except FarError as error:
            yield Finding("trials", "fail", str(error))
            continue
        states[state].append(key)
        if not readable and state != "queued":
            unreadable.append(key)
    counts = ", ".join(f"{len(found)} {state}" for state, found in sorted(states.items()))
    yield Finding("trials", "ok", counts or "none yet")
    for key in states["corrupt"]:
        yield Finding("trials", "fail", str(store.damage(key)), _again(store, [key]))
    if unreadable:
        text = f"{_some(unreadable)}: trial.json cannot be read, so that nobody can tell what was run"
        yield Finding("trials", "warn", text, _again(store, unreadable))
    if left := states["interrupted"]:
        yield Finding("trials", "warn", f"{_some(left)}: begun and not ended, and nobody is at it", _again(store, left))
    if bad := states["failed"]:
        yield Finding("trials", "warn", f"{_some(bad)}: failed", _again(store, bad, "farlab retry {} --failed"))
    yield from _drivers(store)


def _drivers(store: Store) -> Iterator[Finding]:
    for name in store.studies():
        lock = store.lock_study(name)
        if is_held(lock.path):
            yield Finding("sweeps", "ok", f"'{name}' is driven by {lock.owner()}")
        elif (read_json(lock.path, dict) or {}).get("pid"):
            text = f"'{name}' was driven by {lock.owner()}, which was killed; its lock is free"
            yield Finding("sweeps", "warn", text, f"farlab resume {name}")


def _again(store: Store, keys: list[str], command: str = "farlab resume {}") -> str:
    studies = dict.fromkeys(cell.study for cell in cells(store) if cell.key in keys)
    if studies:
        return "; ".join(command.format(name) for name in studies)
    return f"farlab train {store.paths(keys[0]).trial}; no study names it"


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{', '.join(keys[:SHOWN])}{more}"
