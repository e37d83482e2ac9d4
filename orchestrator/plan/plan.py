"""The plan: rows × seeds of one or several studies, each trial with its key, and what the store has of it."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from far.config import DataConfig, InitConfig, TrialConfig, resolve
from far.config.identity import identity, trial_keys
from far.errors import ConfigError, DataError, FarError, WeightsError
from orchestrator.store.store import DONE, Store, TrialState
from orchestrator.study import Study
from orchestrator.study.checks import placebo_seeds
from orchestrator.study.profiles import PROFILES_BEFORE
from orchestrator.study.schema import ResourcesConfig

if TYPE_CHECKING:
    from orchestrator.plan.changed_code import Verdict
    from orchestrator.plan.starts import Start

ManifestHash = Callable[[DataConfig], str | None]
WeightsHash = Callable[[InitConfig], str | None]
DataProblems = Callable[[TrialConfig], list[str]]

SEEDS_LOOKED_AT = 100
"""Seeds 0, 1, … at which a baseline may be finished already, for its placebo."""
ABSENT = ("data.source", "init.weights")
"""Keys whose errors mean "not here": the plan can still be shown and priced, though not run."""


@dataclass(frozen=True)
class PlannedTrial:
    """One cell of the plan. Cells of several rows or studies may share a key: they are one trial."""

    study: str
    row: str
    seed: int
    key: str
    config: TrialConfig
    identity: dict[str, Any]
    state: TrialState
    profile: str
    resources: ResourcesConfig
    is_known: bool = True
    """Whether ``key`` is the trial's; until its demo data have been generated, it is only unique within the plan."""
    again: bool = False
    """Whether it is to be rerun even if the store has a result, which is set aside."""

    @property
    def done(self) -> bool:
        """Whether the store already has what this trial would give."""
        return self.state in DONE and not self.again


@dataclass(frozen=True)
class Duplicate:
    """Rows of one study that build the same model with the same recipe."""

    study: str
    rows: tuple[str, ...]

    def __str__(self) -> str:
        names = " and ".join(f"'{row}'" for row in self.rows)
        return f"study '{self.study}': rows {names} resolve to the same trial: their settings differ without effect"


@dataclass(frozen=True)
class Plan:
    """Everything that the studies ask for."""

    studies: tuple[Study, ...]
    trials: tuple[PlannedTrial, ...]
    duplicates: tuple[Duplicate, ...] = ()
    problems: tuple[str, ...] = ()
    """What stands in the way of running it, e.g. a data set that is not there."""
    damaged: tuple[str, ...] = field(default=())
    """Result files that cannot be read; their trials will be run again."""
    earlier: tuple[str, ...] = field(default=())
    """Results under what shipped profiles said in earlier versions, in words."""
    starts: tuple[Start, ...] = field(default=())
    """What its rows start from, where they have initial weights (``orchestrator.plan.starts``)."""
    other_frames: tuple[str, ...] = field(default=())
    """Finished trials that saw other frames than the same trial would now (``orchestrator.plan.other_frames``)."""
    code: Mapping[str, Verdict] = field(default_factory=dict)
    """How the source behind trials compares with what is here, by key (``orchestrator.plan.changed_code``)."""
    unusable: tuple[str, ...] = field(default=())
    """Why trials that are left to run would fail on the data that are here."""

    @property
    def refused(self) -> bool:
        """Whether a sweep would refuse it as it is."""
        return bool(self.problems or self.unusable)

    def unique(self) -> list[PlannedTrial]:
        """Return one trial per key, in the order of the plan."""
        return list({trial.key: trial for trial in reversed(self.trials)}.values())[::-1]

    def missing(self) -> list[PlannedTrial]:
        """Return what is left to run, one trial per key, in the order of the plan."""
        return [trial for trial in self.unique() if not trial.done]

    def cells(self, study: str) -> list[PlannedTrial]:
        """Return the trials of one study, rows × seeds, sharing keys where rows are the same model."""
        return [trial for trial in self.trials if trial.study == study]


def make_plan(
    studies: Study | Sequence[Study],
    store: Store,
    *,
    manifest_hash: ManifestHash,
    weights_hash: WeightsHash | None = None,
    present_hash: ManifestHash | None = None,
    data_problems: DataProblems | None = None,
) -> Plan:
    """Expand studies into trials and look each up in the store.

    Args:
        studies: one or several; they make one plan, in which equal trials are one.
        store: where finished trials lie.
        manifest_hash: content hash of the data a configuration asks for, None if they are still to be generated; may
            raise ``DataError``.
        weights_hash: content hash of its initial weights; may raise ``WeightsError``. Default: none are used.
        present_hash: ``manifest_hash`` of data that are here already, for finding results of earlier versions, which is
            no reason to generate any. Default: ``manifest_hash``.
        data_problems: why a trial would fail on its data; nothing where these are not here. Default: no check.
    """
    studies = (studies,) if isinstance(studies, Study) else tuple(studies)
    contents = _Contents(manifest_hash, weights_hash or (lambda init: None))
    studies = tuple(_with_finished_placebo(study, contents, store) for study in studies)
    cells: list[tuple[Study, str, int, str, TrialConfig, dict[str, Any], bool]] = []
    duplicates: list[Duplicate] = []
    for study in studies:
        by_key: dict[str, list[str]] = defaultdict(list)
        for row in study.rows:
            whole, known = contents.identity(row.config)
            seeds = study.seeds_of(row)
            keys = trial_keys(whole, seeds)
            if row.name != study.placebo:
                by_key[keys[0]].append(row.name)
            for seed, key in zip(seeds, keys, strict=True):
                config = row.config.model_copy(update={"seed": seed})
                cells.append((study, row.name, seed, key, config, {**whole, "seed": seed}, known))
        duplicates += [Duplicate(study.name, tuple(names)) for names in by_key.values() if len(names) > 1]
    states = store.states({cell[3] for cell in cells})
    trials = tuple(
        PlannedTrial(study.name, row, seed, key, config, own, states[key], study.profile.name, study.resources, known)
        for study, row, seed, key, config, own, known in cells
    )
    damaged = tuple(text for key, state in states.items() if state == "corrupt" and (text := store.damage(key)))
    problems = tuple(contents.problems)  # not those of data that only an earlier version's profile would ask for
    looking = _Contents(present_hash, contents.weights) if present_hash else contents
    earlier = tuple(text for study in studies for text in _earlier(study, trials, looking, store))
    plan = Plan(studies, trials, tuple(duplicates), problems, damaged, earlier)
    if data_problems is None:
        return plan
    configs = [*(trial.config for trial in plan.missing()), *_search_bases(studies)]
    unusable = tuple(dict.fromkeys(text for config in configs for text in data_problems(config)))
    problems = tuple(text for text in plan.problems if text not in unusable)
    return replace(plan, problems=problems, unusable=unusable)


def _with_finished_placebo(study: Study, contents: _Contents, store: Store) -> Study:
    """Return a study whose placebo takes seeds at which its baseline is finished already, where there are enough."""
    if study.placebo is None or study.file is None:  # as submitted, it keeps its seeds
        return study
    placebo = study.row(study.placebo)
    keys = trial_keys(contents.identity(placebo.config)[0], range(SEEDS_LOOKED_AT))
    states = store.states(set(keys))
    finished = [seed for seed, key in enumerate(keys) if states[key] == "finished"]
    chosen = replace(placebo, seeds=placebo_seeds(study.seeds, finished))
    return replace(study, rows=tuple(chosen if row is placebo else row for row in study.rows))


def _search_bases(studies: Sequence[Study]) -> Iterator[TrialConfig]:
    """Yield what searches start from, as far as it decides whether their data can be trained on."""
    for study in studies:
        if study.search is None or any(key.startswith("data.") for key in study.search.space):
            continue
        try:
            config = resolve(list(study.base))
        except ConfigError:  # only its proposals make it whole
            continue
        if "recipe.batch_size" in study.search.space:
            config = config.model_copy(update={"recipe": config.recipe.model_copy(update={"batch_size": 1})})
        yield config


def _earlier(study: Study, trials: Sequence[PlannedTrial], contents: _Contents, store: Store) -> Iterator[str]:
    """Say which results of earlier versions answer the study as its profile was then."""
    lacking = {trial.row for trial in trials if trial.study == study.name and not trial.done}
    for before in PROFILES_BEFORE:
        if not before.applies(study.profile.name):
            continue
        old: set[str] = set()
        for row in study.rows:
            if row.name in lacking and (config := before.of(row.config)) is not None:
                old |= set(trial_keys(contents.identity(config)[0], study.seeds_of(row)))
        kept = sum(state in DONE for state in store.states(old).values())
        if kept:
            yield (
                f"study '{study.name}': {kept} results in the store are those of an earlier version's profile; "
                f"add {' '.join(map(shlex.quote, before.overrides))} to have them"
            )


class _Contents:
    """Content hashes by configuration, each computed once; what is not there is noted, not fatal."""

    def __init__(self, manifest_hash: ManifestHash, weights_hash: WeightsHash) -> None:
        self._manifest, self.weights = manifest_hash, weights_hash
        self._known: dict[str, str | None] = {}
        self.problems: list[str] = []

    def identity(self, config: TrialConfig) -> tuple[dict[str, Any], bool]:
        """Return the identity, and whether it is the final one."""
        data = self._once("data " + config.data.model_dump_json(), lambda: self._manifest(config.data))
        weights = self._once("init " + config.init.model_dump_json(), lambda: self.weights(config.init))
        stand_in = f"to be generated: {config.data.model_dump_json(exclude=config.data.uncounted())}"
        return identity(config, data_hash=data or stand_in, weights_hash=weights), data is not None

    def _once(self, name: str, compute: Callable[[], str | None]) -> str | None:
        if name not in self._known:
            try:
                self._known[name] = compute()
            except (DataError, WeightsError, ConfigError) as error:
                if isinstance(error, ConfigError) and error.key not in ABSENT:
                    raise
                self._note(error)
                self._known[name] = f"unavailable: {name}"
        return self._known[name]

    def _note(self, error: FarError) -> None:
        if str(error) not in self.problems:
            self.problems.append(str(error))
