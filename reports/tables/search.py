"""What a study's search has found, as tables: the front or the best trials, and which settings mattered."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reports.results.search import SearchFindings
from reports.results.state import State
from reports.tables.model import Cell, Column, Note, Origin, Row, Table

if TYPE_CHECKING:
    from orchestrator.search.analysis import Found, SearchResults

SHOWN = 10
"""Trials beside the front."""
LITTLE = "Too few finished trials of different value to tell which settings mattered (at least 4)."


def search_tables(study: str, profile: str, findings: SearchFindings, warning: str = "") -> list[Table]:
    """Lay out the trials of a search and the importances of its settings."""
    tables = [_trials(study, profile, findings.found, warning)]
    return [*tables, _importances(study, profile, findings)] if tables[0].rows else tables


def _trials(study: str, profile: str, found: SearchResults, warning: str) -> Table:
    single = len(found.objectives) == 1
    front = {trial.number for trial in found.front}
    rest = [trial for trial in found.trials if trial.values and trial.number not in front]
    sign = -1 if found.directions[0] == "maximize" else 1
    rest.sort(key=lambda trial: sign * trial.values[0])
    first = sorted(found.front, key=lambda trial: sign * trial.values[0])
    goals = " and ".join(f"{name} ({way}d)" for name, way in zip(found.objectives, found.directions, strict=True))
    counts = Counter(trial.state for trial in found.trials)
    said = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    left_out = max(0, len(rest) - SHOWN)
    notes = [
        Note(f"{len(found.trials)} proposals: {said}. A pruned trial has no number here or in any other table."),
        Note("One seed a trial: a difference here is a proposal for a study of rows and seeds, not a finding."),
        *([Note(f"{left_out} further finished trials are not shown.")] if left_out else []),
    ]
    settings = list(dict.fromkeys(name for trial in found.trials for name in trial.parameters))
    return Table(
        key=f"{study}-search",
        caption=f"Search of {study}: {'the best trial' if single else 'the Pareto front'} of {goals}, then the others",
        columns=(
            Column("row", "Trial", Origin.LABEL),
            *(Column(f"value_{name}", name) for name in found.objectives),
            *(Column(f"set_{name}", name, Origin.LABEL) for name in settings),
            Column("key", "key", Origin.LABEL),
        ),
        rows=tuple(_row(trial, found.objectives, trial.number in front) for trial in [*first, *rest[:SHOWN]]),
        profile=profile,
        warning=warning,
        notes=tuple(notes),
    )


def _row(trial: Found, objectives: tuple[str, ...], best: bool) -> Row:
    values = dict(zip(objectives, trial.values, strict=True))
    name = f"search {trial.number}"
    cells = {f"value_{metric}": Cell(value, decimals=_decimals(value), best=best) for metric, value in values.items()}
    cells |= {f"set_{setting}": Cell(_said(value)) for setting, value in trial.parameters.items()}
    data = {"row": name, "key": trial.key, "front": best, "values": values, "parameters": trial.parameters}
    cells |= {"row": Cell(name), "key": Cell(trial.key or "")}
    return Row(name, cells, State.FINISHED, data=data)


def _importances(study: str, profile: str, findings: SearchFindings) -> Table:
    columns = {
        f"{evaluator}_{metric}": (f"{metric}, {evaluator} (%)", shares)
        for evaluator, by_metric in findings.importances.items()
        for metric, shares in by_metric.items()
    }
    settings = dict.fromkeys(name for _, shares in columns.values() for name in shares)
    rows = []
    for name in settings:
        shares = {key: of[name] for key, (_, of) in columns.items() if name in of}
        cells = {key: Cell(100 * share, decimals=0) for key, share in shares.items()}
        rows.append(Row(name, {"row": Cell(name), **cells}, State.FINISHED, data={"row": name, **shares}))
    return Table(
        key=f"{study}-importance",
        caption=f"Search of {study}: share of the variance of each objective that a setting explains",
        columns=(Column("row", "Setting", Origin.LABEL), *(Column(key, title) for key, (title, _) in columns.items())),
        rows=tuple(rows),
        profile=profile,
        notes=() if rows else (Note(LITTLE),),
    )


def _decimals(value: float) -> int:
    return 0 if abs(value) >= 1000 else 2 if abs(value) >= 1 else 4


def _said(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
