"""What a search has found: its trials, the best or the Pareto front, and which parameters mattered."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from orchestrator.plan.proposals import KEY
from orchestrator.search.storage import find_search
from orchestrator.store.store import Store
from orchestrator.study import Study

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Found:
    """One trial of a search.

    Attributes:
        number: in the order of the proposals.
        key: of the trial in the store; None if the proposal could not be meant.
        state: ``finished``, ``pruned``, ``failed`` or ``running``.
        parameters: what was chosen.
        values: of the objectives, in their order; empty unless finished.
    """

    number: int
    key: str | None
    state: str
    parameters: dict[str, Any]
    values: tuple[float, ...]


@dataclass(frozen=True)
class SearchResults:
    """A search as it stands.

    Attributes:
        objectives: names of the metrics.
        directions: ``maximize`` or ``minimize``, one an objective.
        trials: in the order of the proposals.
        front: the trials that no other one beats in every objective; with one objective, the best.
        importances: by objective, each parameter's share of the variance; empty where there are too few trials.
    """

    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    trials: tuple[Found, ...]
    front: tuple[Found, ...]
    importances: dict[str, dict[str, float]]


def results(study: Study, store: Store, evaluator: Literal["ped-anova", "fanova"] = "ped-anova") -> SearchResults:
    """Return what a study's search has found so far.

    Args:
        study: with a ``search``.
        store: where its journal lies.
        evaluator: how importances are computed; both need at least four finished trials of different value.
    """
    assert study.search is not None
    found = find_search(study, store)
    names: tuple[str, ...] = tuple(objective.metric for objective in study.search.objectives)
    if found is None:
        directions = tuple(objective.direction for objective in study.search.objectives)
        return SearchResults(names, directions, (), (), {name: {} for name in names})
    trials = {trial.number: _found(trial) for trial in found.get_trials(deepcopy=False)}
    return SearchResults(
        objectives=names,
        directions=tuple(objective.direction for objective in study.search.objectives),
        trials=tuple(trials.values()),
        front=tuple(trials[trial.number] for trial in found.best_trials),
        importances={name: _importances(found, index, evaluator) for index, name in enumerate(names)},
    )


def _found(trial: optuna.trial.FrozenTrial) -> Found:
    values = tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else ()
    return Found(trial.number, trial.user_attrs.get(KEY), STATES[trial.state], dict(trial.params), values)


def _importances(study: optuna.Study, index: int, evaluator: str) -> dict[str, float]:
    """Return importances for one objective; none where all values are equal, which the evaluators cannot divide by."""
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    values = {trial.values[index] for trial in done}
    if len(done) < 4 or len(values) < 2:
        return {}
    importance = optuna.importance
    chosen: Any = (
        importance.FanovaImportanceEvaluator(seed=0)
        if evaluator == "fanova"
        else importance.PedAnovaImportanceEvaluator()
    )
    # PED-ANOVA asks what makes the target low.
    sign = -1.0 if study.directions[index] == optuna.study.StudyDirection.MAXIMIZE else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return dict(
            importance.get_param_importances(study, evaluator=chosen, target=lambda trial: sign * trial.values[index])
        )
