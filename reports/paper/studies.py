"""Which studies a report is about: those of the paper's tables, and those that a store was given."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from far.errors import ConfigError
from orchestrator.plan.lockfile import load_lockfile, read_lockfile
from orchestrator.study import load_study
from orchestrator.study.lookup import files_in, study_directories
from orchestrator.study.paper import result_tables
from orchestrator.study.profiles import find_profile, packaged_studies, profile_directories
from orchestrator.workspace.plugins import records_in, refused
from orchestrator.workspace.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.store.store import Store
    from orchestrator.study import Study


def studies_of_table(number: int) -> list[Path]:
    """Return the study files with ``table: N``: those in ``studies/`` here, else the shipped one."""
    files = [path for directory in study_directories() for path in _with_table(number, directory)]
    shipped = [path for path in files if _is_shipped(path)]
    return [path for path in files if path not in shipped] or shipped[:1]


def shipped_study(number: int) -> Path:
    """Return the shipped study of a table.

    Raises:
        ConfigError: none is shipped.
    """
    for path in _with_table(number, packaged_studies()):
        return path
    raise ConfigError(f"no study is shipped for Table {number}")


def _with_table(number: int, directory: Path) -> Iterator[Path]:
    wanted = re.compile(rf"^table:\s*{number}\s*(#.*)?$", re.MULTILINE)
    for path in files_in(directory):
        if wanted.search(path.read_text(encoding="utf-8", errors="replace")):
            yield path


def study_of_table(number: int) -> Path | None:
    """Return the one study with ``table: N``, None if there is none.

    Raises:
        ConfigError: ``studies/`` holds several.
    """
    found = studies_of_table(number)
    if len(found) > 1:
        raise ConfigError(f"several studies have 'table: {number}'; name the one that is meant", choices=found)
    return found[0] if found else None


def tables_with_study() -> list[int]:
    """Return the numbers of the paper's tables for which there is a study."""
    return [number for number in result_tables() if studies_of_table(number)]


def studies_for(tables: Sequence[int]) -> list[Path]:
    """Return one study for each table.

    Raises:
        ConfigError: a table has none, or several.
    """
    paths = []
    for number in tables:
        path = study_of_table(number)
        if path is None:
            choices = [str(n) for n in tables_with_study()]
            raise ConfigError(f"no study has 'table: {number}'", key="--table", choices=choices, got=str(number))
        paths.append(path)
    return paths


def before_shipped(path: Path) -> str:
    """Say so where a study of one's own stands for a table of the paper, for which another one is shipped."""
    for number in result_tables() if not _is_shipped(path) else ():
        if path in studies_of_table(number):
            return f"Table {number} is that of {path}, which stands before the study that is shipped."
    return ""


def _is_shipped(path: Path) -> bool:
    """Whether a study is a shipped one, or the same to the letter."""
    root = packaged_studies().resolve()
    if path.resolve().is_relative_to(root):
        return True
    return any(twin.read_bytes() == path.read_bytes() for twin in root.rglob(path.name))


def submitted(
    store: Store,
    *,
    profile: str | None = None,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | int | None = None,
    known: Collection[str] = (),
) -> list[Study]:
    """Return the studies that were submitted to a store, on what they were given then unless another is asked for.

    Args:
        store: where they were submitted.
        profile: only those of this profile; None: all.
        overrides: instead of those of the submission.
        seeds: instead of those of the submission.
        known: names of studies that the report has already.
    """
    found = []
    for name in store.studies():
        for path in store.study(name).submissions() if name not in known else ():
            if profile in (None, path.parent.name):
                found += _as_submitted(name, path, overrides, seeds)
    return found


def _as_submitted(name: str, path: Path, overrides: Sequence[str], seeds: Sequence[int] | int | None) -> list[Study]:
    """Return a study as its file is now; where that cannot be read any more, as it was frozen."""
    record = read_lockfile(path)
    if not record:
        return []
    scale = path.parent.name
    own = path.resolve().is_relative_to(load_settings().store.resolve())
    try:
        with refused("" if own else "the study is named by a store that is not this workspace's"):
            study = load_study(
                record["source"],
                profile=scale,
                overrides=overrides or record["overrides"],
                seeds=record["seeds"] if seeds is None else seeds,
            )
        if study.name == name:
            return [study]
    except (ConfigError, KeyError):
        pass
    if overrides or seeds is not None:
        return []
    try:
        return [_with_profile(load_lockfile(path))]
    except ConfigError as error:
        if not records_in(record):
            raise
        print(f"note: study '{name}' is left out: {error}", file=sys.stderr)
        return []


def _with_profile(study: Study) -> Study:
    """Give a frozen study its profile's settings, with which the paper's setting is told from others."""
    try:
        return replace(study, profile=find_profile(study.profile.name, profile_directories(load_settings().workspace)))
    except ConfigError:
        return study
