"""What the rows of a plan start from: read off the weights before anything trains, and held against each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config import TrialConfig, resolve
from far.errors import ConfigError, WeightsError
from far.train.checkpoint import latest
from far.weights.load_report import LoadReport, uneven
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.store import Store
from orchestrator.workspace.workspace import Workspace

if TYPE_CHECKING:
    from far.weights import Source


@dataclass(frozen=True)
class Start:
    """How one row of a study begins.

    Attributes:
        study: the study's name.
        row: the row's.
        weights: the file, as the configuration names it.
        load_report: what is loaded from it.
    """

    study: str
    row: str
    weights: str
    load_report: LoadReport


def with_starts(plan: Plan, workspace: Workspace) -> Plan:
    """Return the plan with what its rows start from, as far as their files are here.

    A row whose trials have all begun is as it was when they did; nothing is asked about it.

    Raises:
        ConfigError, WeightsError: a row that is to be run cannot start from its file, or leaves open how it is read.
    """
    for study in plan.studies:
        if study.search is not None:
            with _named(f"study '{study.name}', search"):
                start_of(resolve(study.base), workspace)
    if all(trial.config.init.weights is None for trial in plan.trials):
        return plan
    accounts = _Accounts(workspace.settings.weights_root)
    starts = []
    problems: dict[str, None] = {}
    for study in plan.studies:
        rows: dict[str, list[PlannedTrial]] = {}
        for trial in plan.cells(study.name):
            rows.setdefault(trial.row, []).append(trial)
        for row, trials in rows.items():
            path = workspace.weights_path(trials[0].config.init)
            if path is not None and not path.exists() and not all(trial.done for trial in trials):
                problems[f"{path}: no such file"] = None  # its content may be known all the same
                continue
            load_report = _of_row(study.name, row, trials, workspace.store, accounts)
            if load_report is not None:
                starts.append(Start(study.name, row, str(trials[0].config.init.weights), load_report))
    known = [text for text in problems if not any(text.partition(":")[0] in other for other in plan.problems)]
    return replace(plan, starts=tuple(starts), problems=(*plan.problems, *known))


def _of_row(study: str, row: str, trials: list[PlannedTrial], store: Store, accounts: _Accounts) -> LoadReport | None:
    left = [trial for trial in trials if not trial.done and not begun(store, trial.key)]
    if not left:
        result: Mapping[str, Any] = store.result(trials[0].key) or {}
        return LoadReport.from_json(result.get("init"))
    content = (left[0].identity.get("init") or {}).get("content")
    if content is None or str(content).startswith("unavailable"):
        return None  # a random start, or a file that is not here, which the plan says
    with _named(f"study '{study}', row '{row}'"):
        return accounts.of(left[0])


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """Say in an error which row it is about."""
    try:
        yield
    except ConfigError as error:
        raise error.at(where=where) from None
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from None


def begun(store: Store, key: str) -> bool:
    """Return whether a trial has a checkpoint, which says how its weights were read."""
    return latest(store.paths(key).checkpoints) is not None


def start_of(config: TrialConfig, workspace: Workspace) -> LoadReport | None:
    """Return what one trial would start from, None where it starts at random or its file is not here.

    Raises:
        ConfigError, WeightsError: it cannot start from its file, or leaves open how it is read.
    """
    path = workspace.weights_path(config.init)
    if path is None or not path.exists():
        return None
    from far.weights.build import account, opened

    return account(config.model, config.init, config.data.classes, opened(config.init, workspace.settings.weights_root))


class _Accounts:
    """Accounts of loading, each made once; files are opened once."""

    def __init__(self, weights_root: Path) -> None:
        self._root = weights_root
        self._sources: dict[str, Source] = {}
        self._known: dict[str, LoadReport] = {}

    def of(self, trial: PlannedTrial) -> LoadReport:
        from far.weights.build import account, opened

        config = trial.config
        file = config.init.model_dump_json()
        name = f"{file} {config.data.classes} {config.model.model_dump_json()}"
        if name not in self._known:
            if file not in self._sources:
                self._sources[file] = opened(config.init, self._root)
            self._known[name] = account(config.model, config.init, config.data.classes, self._sources[file])
        return self._known[name]


def accounts(plan: Plan) -> list[str]:
    """Return what each file gives to which rows, a paragraph each."""
    rows: dict[tuple[str, str], list[str]] = {}
    for start in plan.starts:
        rows.setdefault((start.weights, str(start.load_report)), []).append(start.row)
    everywhere = len({trial.row for trial in plan.trials})
    lines = []
    for (weights, text), names in rows.items():
        distinct = list(dict.fromkeys(names))
        which = "every row" if len(distinct) == everywhere else ", ".join(distinct)
        lines.append(f"initial weights of {which}: {weights}, read as {text}")
    return lines


def warnings(plan: Plan) -> list[str]:
    """Return what to think of before running rows that start so, one line each."""
    lines = []
    tuned = {start.weights for start in plan.starts if start.load_report.stage == "fine-tuned"}
    lines += [f"{weights} is a fine-tuned network, not a pre-training" for weights in sorted(tuned)]
    for study in plan.studies:
        starts = {start.row: start.load_report.as_json() for start in plan.starts if start.study == study.name}
        lines += [
            f"study '{study.name}': rows start differently: {each}; differences are then due to more than the rows "
            "say (init.head=random starts every head at random)"
            for each in uneven(starts)
        ]
    return lines
