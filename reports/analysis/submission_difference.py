"""In what two submissions of a study differ, or a submission and the study's file as it is now."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config.differences import Difference, differences
from far.errors import ConfigError
from orchestrator.plan.lockfile import read_lockfile, record_of
from orchestrator.plan.plan import make_plan
from orchestrator.study import load_study
from orchestrator.study.lookup import SUFFIXES

if TYPE_CHECKING:
    from orchestrator.store.store import Store
    from orchestrator.workspace.workspace import Workspace

ABOUT = ("title", "table", "baseline", "compare", "equal_within", "placebo", "control", "components", "overrides",
         "resources", "retry", "budget", "search", "profile")  # fmt: skip
"""What a submission says beside rows and seeds."""


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: what it is called.
        record: what it says (``orchestrator.plan.lockfile``).
    """

    name: str
    record: Mapping[str, Any]

    @property
    def rows(self) -> Mapping[str, Any]:
        """What it says of each row."""
        rows: Mapping[str, Any] = self.record["rows"]
        return rows


@dataclass(frozen=True)
class RowDifference:
    """A row of both.

    Attributes:
        row: its name.
        settings: in which it differs.
        seeds: seeds of which the trial is another one, or stands in one of them alone.
        shared: seeds whose trial is the same.
        top1: mean over what has finished of each, in percent.
    """

    row: str
    settings: tuple[Difference, ...]
    seeds: tuple[int, ...]
    shared: tuple[int, ...]
    top1: tuple[float | None, float | None]


@dataclass(frozen=True)
class SubmissionDifference:
    """What tells two submissions apart."""

    about: tuple[Difference, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    rows: tuple[RowDifference, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.about or self.added or self.removed or any(row.settings or row.seeds for row in self.rows))


def find_side(text: str, workspace: Workspace) -> Side | None:
    """Return the submission, or the study's file, that a word means; None if it means neither.

    Args:
        text: a submitted study, with ``/PROFILE`` where there are several; a ``study.lock.yaml``; the file of a study.
        workspace: where studies were submitted.

    Raises:
        ConfigError: a file is neither, or a study was submitted with several profiles.
    """
    path = Path(text)
    if path.suffix in SUFFIXES:
        return Side(text, read_lockfile(path) or _of_file(path, workspace))
    name, _, profile = text.rpartition("/") if text not in workspace.store.studies() else (text, "", "")
    if (name or text) not in workspace.store.studies():
        return None
    found = {each.parent.name: each for each in workspace.store.study(name).submissions()}
    if profile and profile not in found:
        return None
    if not profile and len(found) > 1:
        raise ConfigError(
            f"'{text}' was submitted with several profiles", choices=[f"{text}/{each}" for each in found], got=text
        )
    return _of_lock(found[profile or next(iter(found))], text)


def before(text: str, side: Side, store: Store) -> Side:
    """Return what was submitted before a submission.

    Raises:
        ConfigError: it is the only one.
    """
    earlier = store.study(side.record["study"]).earlier(side.record["profile"]["name"])
    if not earlier:
        raise ConfigError(
            f"'{text}' was submitted once, so there is nothing to set against it; name what to compare it with, "
            "e.g. the study's file"
        )
    record = read_lockfile(earlier[-1])
    return Side(f"{text} of {record.get('submitted_at')}", record) if record else _of_lock(earlier[-1], text)


def compare_submissions(first: Side, second: Side, store: Store) -> SubmissionDifference:
    """Return what tells two submissions apart, and what has come of both."""
    one, other = ({key: side.record.get(key) for key in ABOUT} for side in (first, second))
    return SubmissionDifference(
        tuple(differences(one, other)),
        tuple(name for name in second.rows if name not in first.rows),
        tuple(name for name in first.rows if name not in second.rows),
        tuple(_row(name, first.rows[name], second.rows[name], store) for name in first.rows if name in second.rows),
    )


def _row(name: str, first: Mapping[str, Any], second: Mapping[str, Any], store: Store) -> RowDifference:
    one, other = first["trials"], second["trials"]
    same = {seed for seed in one if one[seed] == other.get(seed)}
    seeds = sorted({*one, *other} - same, key=int)
    return RowDifference(
        name,
        tuple(differences(first["config"], second["config"])),
        tuple(int(seed) for seed in seeds),
        tuple(sorted(map(int, same))),
        (_mean(one, store), _mean(other, store)),
    )


def _mean(trials: Mapping[str, str], store: Store) -> float | None:
    results = [store.result(key) for key in trials.values()]
    values = [
        float(value)
        for result in results
        if result and result["state"] == "finished" and (value := (result.get("metrics") or {}).get("top1")) is not None
    ]
    return statistics.fmean(values) if values else None


def _of_lock(path: Path, name: str) -> Side:
    record = read_lockfile(path)
    if not record:
        raise ConfigError("is damaged: no submission can be read from it", where=str(path))
    return Side(name, record)


def _of_file(path: Path, workspace: Workspace) -> Mapping[str, Any]:
    study = load_study(path)
    plan = make_plan(
        study, workspace.store, manifest_hash=workspace.present_data_hash, weights_hash=workspace.weights_hash
    )
    return {**record_of(study, {(trial.row, trial.seed): trial.key for trial in plan.trials}), "submitted_at": None}
