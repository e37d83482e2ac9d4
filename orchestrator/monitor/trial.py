"""All that a store knows of one trial: which rows it is, where it stands, what it is made of, what it came to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config import TrialConfig, resolve
from far.config.differences import differences, leaves
from far.errors import ConfigError
from far.store.attempts import Clips
from far.store.paths import TrialPaths
from far.store.records import Result, Spec, clips_of, read_epochs, read_heartbeat, read_result, read_spec
from far.train.checkpoint import latest
from orchestrator.plan.cells import Cell, cells
from orchestrator.plan.changed_code import verdict_of
from orchestrator.plan.lockfile import read_lockfile
from orchestrator.study.as_typed import study_word
from orchestrator.workspace.plugins import load_where_they_were

if TYPE_CHECKING:
    from orchestrator.store.store import Store

FIRST = ("model.network", "model.attention", "model.interaction", "model.classifier", "data.source", "recipe.epochs",
         "recipe.batch_size", "recipe.lr", "init.weights")  # fmt: skip
"""Settings that say what a trial is, also where they are the defaults."""


@dataclass(frozen=True)
class TrialFacts:
    """What is known of a trial.

    Attributes:
        paths: where its files lie.
        state: where it stands (``orchestrator.store.store``).
        cells: the cells of submitted studies in which it stands.
        spec: what is run.
        result: what came of it, if it has ended.
        config: its configuration: of its record, else of the submission that names it; empty if neither is there.
        problem: why its record says nothing; empty where it does, or it was never started.
        epochs: a record per finished epoch.
        settings: by dotted name, those that say what it is and those that are not the defaults.
        varied: those of them that tell its row from others.
        checkpoint: its farthest complete checkpoint.
        code: how the source that it ran compares with what is here.
        sizes: bytes of its files by name, ``checkpoints`` as a whole.
        clips: how many its starts were delivered and had decoded, None if they did not count.
        overrides: that the first study which names it was swept with.
        file: of that study, as it is named on the command line.
    """

    paths: TrialPaths
    state: str
    cells: tuple[Cell, ...]
    spec: Spec
    result: Result | None
    config: Mapping[str, Any]
    problem: str
    epochs: list[dict[str, Any]]
    settings: dict[str, Any]
    varied: frozenset[str]
    checkpoint: Path | None
    code: str
    sizes: dict[str, int]
    clips: Clips | None = None
    overrides: tuple[str, ...] = ()
    file: str = ""

    @property
    def key(self) -> str:
        """The trial's key."""
        return self.spec.get("key") or self.paths.key

    @property
    def commands(self) -> list[str]:
        """What can be done with it."""
        found = []
        if self.checkpoint is not None and self.state == "finished":
            found.append(f"farlab evaluate {self.key}")
            if self.cells:
                cell = self.cells[0]
                row = f"--study {shlex.quote(self.file or cell.study)} --row {shlex.quote(cell.row)} --seed {cell.seed}"
                given = "".join(f" --set {shlex.quote(text)}" for text in self.overrides)
                found.append(f"farlab explain VIDEO {row} --profile {cell.profile}{given}")
        if self.spec.get("config"):
            found.append(f"farlab train {shlex.quote(str(self.paths.trial))}")
        if self.paths.log.exists():
            found.append(f"farlab logs {self.key}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, the whole configuration included."""
        return {
            "key": self.key,
            "state": self.state,
            "cells": [asdict(cell) for cell in self.cells],
            "profile": self.spec.get("profile"),
            "settings": self.settings,
            "varied": sorted(self.varied),
            "config": self.config or None,
            "problem": self.problem,
            "identity": self.spec.get("identity"),
            "attempts": self.spec.get("attempts") or [],
            "epochs": self.epochs,
            "result": self.result,
            "code": self.code,
            "directory": str(self.paths.directory),
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "bytes": self.sizes,
            "clips": self.clips,
            "commands": self.commands,
        }


def facts(paths: TrialPaths, store: Store) -> TrialFacts:
    """Read what is known of a trial.

    Args:
        paths: where its files lie, in the store or anywhere else.
        store: whose studies may name it.
    """
    spec, result = read_spec(paths), read_result(paths, read_spec(paths).get("key"))
    key = spec.get("key") or paths.key
    is_here = paths.directory.parent.resolve() == store.trials.resolve()
    named = tuple(cell for cell in cells(store) if cell.key == key)
    problem = "" if spec.get("config") or not paths.trial.exists() else f"{paths.trial} cannot be read"
    config = spec.get("config") or _submitted(named, store)
    settings = _settings(config)
    submission = _lockfile(named[0], store) if named else {}
    source = submission.get("source")
    return TrialFacts(
        paths,
        store.state(key) if is_here else (result or {}).get("state", "interrupted"),
        named,
        spec,
        result,
        config,
        problem,
        read_epochs(paths),
        settings,
        frozenset(settings) & _varied(named, store),
        latest(paths.checkpoints, whole_epochs=True),
        _code(paths, config, store),
        _sizes(paths),
        clips_of(spec.get("attempts") or (), result, read_heartbeat(paths)),
        tuple(submission.get("overrides") or ()),
        study_word(Path(source)) if source and Path(source).is_file() else "",
    )


def folder_size(folder: Path) -> int:
    """Return the bytes of all files under a folder; what goes while it is counted counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
        except OSError:
            continue
    return total


def _lockfile(cell: Cell, store: Store) -> dict[str, Any]:
    return read_lockfile(store.study(cell.study).lockfile(cell.profile))


def _submitted(named: Sequence[Cell], store: Store) -> dict[str, Any]:
    """Return the configuration of a trial as the first submission that names it has it."""
    for cell in named:
        rows = _lockfile(cell, store).get("rows", {})
        if cell.row in rows:
            return {**rows[cell.row]["config"], "seed": cell.seed}
    return {}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says what a trial is, then all that is not the default; not the seed, which the cell names."""
    own = leaves(config)
    usual = resolve([]).model_dump(mode="json")
    named = [*FIRST, *(each.key for each in differences(config, usual))]
    return {key: own[key] for key in dict.fromkeys(named) if key in own and key != "seed"}


def _varied(named: tuple[Cell, ...], store: Store) -> frozenset[str]:
    """Return the settings that the rows of the studies that name a trial vary."""
    files = {store.study(cell.study).lockfile(cell.profile) for cell in named}
    rows = [row for file in files for row in read_lockfile(file).get("rows", {}).values()]
    return frozenset(key for row in rows for key in row.get("settings") or {})


def _code(paths: TrialPaths, config: Mapping[str, Any], store: Store) -> str:
    load_where_they_were(read_spec(paths).get("plugins") or [])
    try:
        verdict = verdict_of(paths.directory, TrialConfig.model_validate(config), store)
    except (ConfigError, ValueError):  # of a version whose settings are not these
        return "code unknown"
    return verdict.text or verdict.state


def _sizes(paths: TrialPaths) -> dict[str, int]:
    files = (paths.trial, paths.metrics, paths.predictions, paths.result, paths.log)
    found = {path.name: path.stat().st_size for path in files if path.is_file()}
    folders = (paths.checkpoints, paths.plugins, paths.earlier)
    return {**found, **{folder.name: folder_size(folder) for folder in folders if folder.is_dir()}}
