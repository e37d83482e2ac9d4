"""A search as a queue of jobs: each next one is proposed when there is room for it, by what has come back by then."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from far.config import TrialConfig, resolve
from far.config.identity import identity, trial_key
from far.errors import ConfigError, FarError
from orchestrator.executors.base import Job, StopRequest
from orchestrator.plan.jobs import make_job, submit
from orchestrator.plan.order import Together, companions
from orchestrator.plan.plan import PlannedTrial
from orchestrator.plan.proposals import KEY
from orchestrator.search.space import configuration, depth_of, propose
from orchestrator.search.storage import open_search, pruner, sampler
from orchestrator.study import Study
from orchestrator.tracking.tracked import TrackedTrial
from orchestrator.workspace.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

ERROR = "error"
"""Attribute of an Optuna trial that failed: why."""
IMPOSSIBLE = 10
"""Invalid proposals tolerated per requested trial."""


@dataclass(frozen=True)
class SearchOutcome:
    """How far a search has come, sweeps before this one included.

    Attributes:
        wanted: trials that the search is to have.
        finished: those that have their values, or were pruned.
        pruned: those of them that were stopped early.
        bad: what failed, in words.
    """

    wanted: int
    finished: int
    pruned: int
    bad: tuple[str, ...]


class SearchQueue:
    """Proposes trials until the search has as many as it wants; goes on where a killed search stopped.

    Args:
        study: with a ``search``.
        workspace: in its store, trials and the search's journal are kept.
        on_trial: called with each trial that is proposed and has to run.
        may_start: asked before each proposal; False ends the search for now, as when a budget is spent.
        stop: asked to stop the sweep where the search cannot go on, e.g. on a full disk.
        together: how many trials like a job may run at the same time on one machine.

    Raises:
        DataError: the data set cannot be used.
        WeightsError: the initial weights cannot be used.
        ConfigError: either is not there.
    """

    def __init__(
        self,
        study: Study,
        workspace: Workspace,
        on_trial: Callable[[PlannedTrial, TrackedTrial], None],
        may_start: Callable[[], bool] = lambda: True,
        stop: StopRequest | None = None,
        together: Together = lambda job: 1,
    ) -> None:
        assert study.search is not None
        self.study, self.search, self.workspace, self.store = study, study.search, workspace, workspace.store
        self._on_trial, self._may_start, self._stop = on_trial, may_start, StopRequest() if stop is None else stop
        self._together, self.over_budget = together, False
        self.proposed: list[PlannedTrial] = []
        self._optuna = open_search(study, workspace.store)
        self._optuna.pruner = pruner(self.search)
        self._depth = depth_of(study)
        self._data, self._weights = workspace.data_hash, workspace.weights_hash
        self._hashes: dict[str, tuple[str, str | None]] = {}
        if not any(key.startswith(("data.", "init.")) for key in self.search.space):
            self._identity(resolve(list(study.base)))  # else the rows would be trained before it is found wanting
        self._orphans = [t for t in self._optuna.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
        self._running: dict[str, list[optuna.Trial]] = {}

    def next(self) -> Job | None:
        """Return the next trial to run; proposals that have a result already, or are invalid, are answered at once."""
        with self._stopping():
            while not self.is_empty():
                if not self._may_start():
                    self.over_budget = True
                    return None
                job = self._proposed(self._reopened() or self._asked())
                if job is not None:
                    return job
        return None

    def _proposed(self, trial: optuna.Trial) -> Job | None:
        try:
            config = configuration(self.study, propose(trial, self.search, self._depth))
        except ConfigError as error:
            trial.set_user_attr(ERROR, str(error))
            self._optuna.tell(trial, state=TrialState.FAIL)
            return None
        whole = self._identity(config)
        key = trial_key(whole)
        trial.set_user_attr(KEY, key)
        if key in self._running:
            self._running[key].append(trial)  # one run answers both
            return None
        self._running[key] = [trial]
        if self.store.state(key) == "finished":
            self._tell(key)
            return None
        return self._submitted(trial, config, key, whole)

    def is_empty(self) -> bool:
        """Return whether there are as many trials as the search wants, or far too many invalid proposals."""
        if self.over_budget:
            return True
        if self._orphans:
            return False
        trials = self._optuna.get_trials(deepcopy=False)
        impossible = sum(t.state == TrialState.FAIL and KEY not in t.user_attrs for t in trials)
        return len(trials) - impossible >= self.search.trials or impossible >= self._most_impossible

    def epoch(self, job: Job, record: dict[str, Any]) -> bool:
        """Tell Optuna an epoch's value; return whether the trial is to be stopped early."""
        if not self.search.prunes or job.key not in self._running:
            return False
        (objective,) = self.search.objectives
        value, step = record.get(f"val_{objective.metric}"), int(record["epoch"]) + 1
        prune = False
        with self._stopping():
            for trial in self._running[job.key]:
                if value is not None and step not in self._frozen(trial).intermediate_values:
                    trial.report(float(value), step)
                prune |= trial.should_prune()
        return prune

    def ended(self, job: Job) -> None:
        """Tell Optuna how a trial ended."""
        with self._stopping():
            self._tell(job.key)

    def outcome(self) -> SearchOutcome:
        """Return how far the search has come, and what is wrong with it."""
        by_state: dict[TrialState, list[optuna.trial.FrozenTrial]] = defaultdict(list)
        for trial in self._optuna.get_trials(deepcopy=False):
            by_state[trial.state].append(trial)
        failed = [trial for trial in by_state[TrialState.FAIL] if KEY in trial.user_attrs]
        impossible = [trial for trial in by_state[TrialState.FAIL] if KEY not in trial.user_attrs]
        pruned = len(by_state[TrialState.PRUNED])
        finished = len(by_state[TrialState.COMPLETE]) + pruned
        bad = [f"{row_name(trial)}: {trial.user_attrs.get(ERROR)}" for trial in failed]
        if len(impossible) >= self._most_impossible:
            example = impossible[-1].user_attrs.get(ERROR)
            bad.append(
                f"search of study '{self.study.name}': ended with {finished + len(failed)} of {self.search.trials} "
                f"trials, since {len(impossible)} proposals were not possible, e.g. {example}"
            )
        return SearchOutcome(self.search.trials, finished, pruned, tuple(bad))

    def __len__(self) -> int:
        return self.search.trials

    @property
    def _most_impossible(self) -> int:
        return IMPOSSIBLE * self.search.trials

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """Let an error stop the whole sweep, e.g. a full disk: who runs the trials could take it for one of theirs."""
        try:
            yield
        except FarError as error:
            self._stop.request(error)

    def _reopened(self) -> optuna.Trial | None:
        """Return a trial that was running when the search was killed: it keeps its number and its values."""
        if not self._orphans:
            return None
        return optuna.Trial(self._optuna, self._orphans.pop(0)._trial_id)

    def _asked(self) -> optuna.Trial:
        self._optuna.sampler = sampler(self.search, len(self._optuna.get_trials(deepcopy=False)))
        return self._optuna.ask()

    def _identity(self, config: TrialConfig) -> dict[str, Any]:
        name = config.data.model_dump_json() + config.init.model_dump_json()
        if name not in self._hashes:
            self._hashes[name] = self._data(config.data), self._weights(config.init)
        data, weights = self._hashes[name]
        return identity(config, data_hash=data, weights_hash=weights)

    def _submitted(self, trial: optuna.Trial, config: TrialConfig, key: str, whole: dict[str, Any]) -> Job:
        planned = PlannedTrial(
            study=self.study.name,
            row=row_name(trial),
            seed=config.seed,
            key=key,
            config=config,
            identity=whole,
            state=self.store.state(key),
            profile=self.study.profile.name,
            resources=self.study.resources,
        )
        submit(self.workspace, planned)
        self.proposed.append(planned)
        directory = self.store.paths(key).directory
        self._on_trial(planned, TrackedTrial(key, planned.row, planned.seed, directory))
        job = make_job(self.workspace, planned, self.study.retry)
        # Most proposals draw the same frames: they have the seed in common, and seldom vary the sampling.
        return replace(job, companions=companions(job, self.search.trials, self._together))

    def _tell(self, key: str) -> None:
        """Report a stored trial to Optuna; a trial that was cut short has no value."""
        result: dict[str, Any] = dict(self.store.result(key) or {})
        for trial in self._running.pop(key, []):
            values = [_value(result, objective.metric) for objective in self.search.objectives]
            if result.get("state") == "finished" and all(value is not None for value in values):
                self._optuna.tell(trial, [float(value) for value in values if value is not None])
            elif result.get("state") == "partial":
                self._optuna.tell(trial, state=TrialState.PRUNED)
            else:
                missing = [o.metric for o, v in zip(self.search.objectives, values, strict=True) if v is None]
                trial.set_user_attr(ERROR, _why(result, missing))
                self._optuna.tell(trial, state=TrialState.FAIL)

    def _frozen(self, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
        return self._optuna.get_trials(deepcopy=False)[trial.number]


def _value(result: dict[str, Any], metric: str) -> float | None:
    value = (result.get("metrics") or {}).get(metric, result.get(metric))
    return float(value) if isinstance(value, int | float) else None


def _why(result: dict[str, Any], missing: Sequence[str]) -> str:
    """Return in words why a trial has no values for its search."""
    if not result:
        return "it has no result"
    if result["state"] == "finished":
        return f"finished, but without a value of {', '.join(missing)}"
    error = result.get("error") or {}
    return f"{result['state']} ({error.get('kind')}): {error.get('message')}"


def row_name(trial: optuna.Trial | optuna.trial.FrozenTrial) -> str:
    """Return what a trial of a search is called where rows have their names."""
    return f"search {trial.number}"
