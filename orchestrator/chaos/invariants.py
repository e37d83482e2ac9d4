"""What must hold after any fault, checked against an undisturbed run of the same study."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from far.data.sharing.leftovers import abandoned
from far.store.atomic import read_json_lines
from far.store.paths import TrialPaths
from far.store.records import read_result
from orchestrator.store.store import DONE, Store
from orchestrator.tracking.mirror import connect

TIMES = frozenset({"time", "seconds", "train_seconds", "checkpoint_seconds", "system"})
"""Fields of an epoch's record that hold times and the machine's load, which no two runs share."""
MARK = "FARLAB_CHAOS_MARK"
"""Environment variable of everything that a chaos run starts."""


def violations(store: Store, clean: Store, tracking_uri: str) -> list[str]:
    """Return what a disturbed sweep got wrong, in words.

    Args:
        store: of the disturbed sweep, finished by now.
        clean: of the undisturbed one.
        tracking_uri: where the disturbed sweep was mirrored.
    """
    wrong = []
    expected, got = set(clean.keys()), set(store.keys())
    wrong += [f"trial {key} is missing" for key in sorted(expected - got)]
    wrong += [f"trial {key} should not be there" for key in sorted(got - expected)]
    for key in sorted(expected & got):
        wrong += [f"trial {key}: {text}" for text in _differences(store.paths(key), clean.paths(key))]
    begun = {key for key in got if store.paths(key).metrics.exists()}
    return wrong + _tracking(store, tracking_uri, begun)


def finished_marks(store: Store) -> dict[str, tuple[int, int]]:
    """Return what changes when a finished trial's result is written again: inode and time, by key."""
    marks = {}
    for key in sorted(store.keys()):
        if store.state(key) in DONE:
            stat = store.paths(key).result.stat()
            marks[key] = (stat.st_ino, stat.st_mtime_ns)
    return marks


def run_again(before: dict[str, tuple[int, int]], store: Store) -> list[str]:
    """Return which trials were finished before and have been run again since."""
    now = finished_marks(store)
    return [f"trial {key} was finished and has been run again" for key in before if now.get(key) != before[key]]


def leftovers(mark: str, workspace: Path, patience: float = 10.0) -> list[str]:
    """Return the processes that a sweep left behind, waiting a little for those that are on their way out.

    Args:
        mark: what the sweep's environment carried; a process that renames itself may lose it.
        workspace: where the sweep was run, which is the working directory of everything that it starts.
        patience: seconds.
    """
    deadline = time.monotonic() + patience
    while (found := _belonging(mark, workspace)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"process {pid} is left: {name}" for pid, name in found.items()]


def shared_memory() -> set[str]:
    """Return the names of unused shared-memory segments; compare before and after."""
    root = Path("/dev/shm")
    names = {entry.name for entry in root.iterdir() if entry.is_file()} if root.is_dir() else set()
    for process in Path("/proc").iterdir():
        if names and process.name.isdecimal():
            try:
                maps = (process / "maps").read_text(errors="replace")
            except OSError:
                continue
            names = {name for name in names if f"/dev/shm/{name}" not in maps}
    return names


def windows_left(before: Collection[Path], patience: float = 10.0) -> list[str]:
    """Return the windows of shared clips that a sweep left behind, waiting a little for those that are being removed.

    Args:
        before: those that were there already (``far.data.sharing.leftovers.abandoned``).
        patience: seconds.
    """
    deadline = time.monotonic() + patience
    while (found := set(abandoned()) - set(before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"shared memory is left: {window}" for window in sorted(found)]


def _belonging(mark: str, workspace: Path) -> dict[int, str]:
    wanted, found, place = f"{MARK}={mark}".encode(), {}, str(workspace.resolve())
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                is_marked = wanted in (entry / "environ").read_bytes().split(b"\0")
                if is_marked or str((entry / "cwd").readlink()) == place:
                    found[int(entry.name)] = (entry / "cmdline").read_bytes()[:80].replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


def _differences(paths: TrialPaths, clean: TrialPaths) -> list[str]:
    got: Mapping[str, Any] = read_result(paths) or {}
    expected: Mapping[str, Any] = read_result(clean) or {}
    wrong = []
    for field in ("state", "metrics", "evaluated", "expected", "epochs", "steps", "flops", "params"):
        if got.get(field) != expected.get(field):
            wrong.append(f"{field} is {got.get(field)}, undisturbed {expected.get(field)}")
    if _bytes(paths.predictions) != _bytes(clean.predictions):
        wrong.append("predictions differ from the undisturbed ones")
    if _history(paths) != _history(clean):
        wrong.append("the metric history differs from the undisturbed one")
    return wrong


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _history(paths: TrialPaths) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in TIMES} for record in read_json_lines(paths.metrics)]


def _tracking(store: Store, uri: str, keys: set[str]) -> list[str]:
    client = connect(uri)
    wrong: list[str] = []
    logged: set[str] = set()
    ours = f"tags.`farlab.store` = '{store.identity()}'"  # other sweeps may log to the same server
    for experiment in client.search_experiments():
        seen: dict[str, str] = {}
        for run in client.search_runs([experiment.experiment_id], ours, max_results=10_000):
            tags, name = run.data.tags, run.info.run_name
            if "farlab.kind" not in tags:
                continue
            if run.info.status == "RUNNING":
                wrong.append(f"MLflow run '{name}' is still RUNNING")
            key = tags.get("farlab.key")
            if key is None:
                continue
            if key in seen:
                wrong.append(f"MLflow has two runs of trial {key} in experiment '{experiment.name}'")
            seen[key] = run.info.run_id
            # MLflow orders them by a clock that may have gone back.
            steps = sorted(metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss"))
            epochs = len(read_json_lines(store.paths(key).metrics))
            if steps != list(range(1, epochs + 1)):
                wrong.append(f"MLflow run '{name}' has the steps {steps}, the trial has {epochs} epochs")
        logged |= set(seen)
    return wrong + [f"MLflow has no run of trial {key}" for key in sorted(keys - logged)]
