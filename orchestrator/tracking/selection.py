"""Select which studies to mirror to MLflow: a plan's, or all submitted."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import FarError
from orchestrator.plan.lockfile import load_lockfile, locked_keys, read_lockfile
from orchestrator.plan.plan import Plan
from orchestrator.plan.proposals import KEY
from orchestrator.store.store import Store
from orchestrator.study import Study
from orchestrator.study.profiles import packaged_studies
from orchestrator.tracking.contents import flattened
from orchestrator.tracking.database import ARTIFACTS, Database
from orchestrator.tracking.mirror import connect
from orchestrator.tracking.summary import summary_of
from orchestrator.tracking.tracked import Sweep, TrackedTrial

if TYPE_CHECKING:
    from orchestrator.workspace.settings import Settings

Cell = tuple[str, int, str]
"""Name of a row or of a proposal, seed, and key."""


def sweeps_of(plan: Plan, store: Store, settings: Settings | None = None) -> list[Sweep]:
    """Return one sweep per study of the plan; with settings, each makes its tables and figures in the end."""
    return [
        _sweep(
            store,
            study.name,
            study.profile.name,
            _planned(study),
            [(t.row, t.seed, t.key) for t in plan.cells(study.name)],
            proposals(study, store),
            settings,
        )
        for study in plan.studies
    ]


def submitted(store: Store, name: str, settings: Settings | None = None) -> list[Sweep]:
    """Return one sweep per profile at which a study was submitted; see ``sweeps_of``."""
    sweeps = []
    for path in store.study(name).submissions():
        cells = [(row, seed, key) for row, seeds in locked_keys(path).items() for seed, key in seeds.items()]
        record = read_lockfile(path)
        proposed: list[Cell] = []
        if record.get("search"):
            with contextlib.suppress(FarError):  # of another version, or damaged: its rows can be mirrored all the same
                proposed = proposals(load_lockfile(path), store)
        sweeps.append(_sweep(store, name, path.parent.name, _about(record), cells, proposed, settings))
    return sweeps


def follow_store(uri: str, store: Store) -> None:
    """Let the artifacts of all studies' runs be where the store is now."""
    client, database = connect(uri), Database(uri)
    for name in store.studies():
        for sweep in submitted(store, name):
            if (experiment := client.get_experiment_by_name(name)) is not None:
                database.follow(experiment.experiment_id, sweep)


def proposals(study: Study, store: Store) -> list[Cell]:
    """Return the trials that a study's search has proposed so far.

    Raises:
        DataError: the search's journal is damaged.
    """
    if study.search is None:
        return []
    from orchestrator.search.queue import row_name
    from orchestrator.search.storage import find_search

    search = find_search(study, store)
    trials = search.get_trials(deepcopy=False) if search is not None else []
    return [(row_name(trial), study.seeds[0], trial.user_attrs[KEY]) for trial in trials if KEY in trial.user_attrs]


@dataclass(frozen=True)
class _About:
    """What a study says of its sweep."""

    table: int | None = None
    title: str = ""
    source: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By row, what it sets itself."""
    baseline: str | None = None
    reference: Callable[[], Mapping[str, Any]] = dict
    """Returns the baseline row's configuration."""
    searched: Sequence[str] = ()
    seeds: Sequence[int] = ()
    overrides: Sequence[str] = ()

    @property
    def varied(self) -> list[str]:
        """The settings in which rows differ, and what a search varies."""
        keys = dict.fromkeys(key for settings in self.settings.values() for key in settings)
        shown = {key: {json.dumps(row.get(key, _ABSENT)) for row in self.settings.values()} for key in keys}
        return list(dict.fromkeys([*(key for key in keys if len(shown[key]) > 1), *self.searched]))

    def command(self, profile: str) -> str:
        """Return the command that sweeps the study again."""
        file = Path(self.source)
        study = file.stem if file.resolve().is_relative_to(packaged_studies()) else self.source
        seeds = ",".join(str(seed) for seed in self.seeds) + ("," if len(self.seeds) == 1 else "")
        words = ["farlab", "sweep", study, *self.overrides, "--profile", profile]
        return shlex.join([*words, *(("--seeds", seeds) if seeds else ())]) if study else ""


_ABSENT = "(not set)"


def _planned(study: Study) -> _About:
    """Return what a study that is loaded says."""
    return _About(
        table=study.table,
        title=study.title,
        source=str(study.path.resolve()),
        settings={row.name: row.settings for row in study.rows},
        baseline=study.baseline,
        reference=lambda: study.row(study.baseline).config.model_dump(mode="json") if study.baseline else {},
        searched=tuple(study.search.space) if study.search else (),
        seeds=study.seeds,
        overrides=study.overrides,
    )


def _about(record: Mapping[str, Any]) -> _About:
    """Return what a submission's record says; of a damaged one, or one of another version, what can be read."""
    rows: Mapping[str, Any] = record.get("rows") or {}
    search = record.get("search")
    try:
        return _About(
            table=record.get("table"),
            title=str(record.get("title") or ""),
            source=str(record.get("source") or ""),
            settings={name: dict(row.get("settings") or {}) for name, row in rows.items()},
            baseline=record.get("baseline"),
            reference=lambda: (rows.get(str(record.get("baseline"))) or {}).get("config") or {},
            searched=tuple((search or {}).get("space") or ()),
            seeds=[int(seed) for seed in record.get("seeds") or ()],
            overrides=[str(text) for text in record.get("overrides") or ()],
        )
    except (AttributeError, TypeError, ValueError):
        return _About(table=record.get("table"))


def _sweep(
    store: Store,
    name: str,
    profile: str,
    about: _About,
    cells: Sequence[Cell],
    proposed: Sequence[Cell],
    settings: Settings | None,
) -> Sweep:
    """Rows that are the same trial make one run, named after all of them; a proposal that is a row is the row."""
    rows = {key for _, _, key in cells}
    by_key: dict[str, list[tuple[str, int]]] = {}
    for row, seed, key in (*cells, *(cell for cell in proposed if cell[2] not in rows)):
        by_key.setdefault(key, []).append((row, seed))
    varied = about.varied
    reference = flattened(about.reference()) if varied and about.baseline is not None else {}
    return Sweep(
        study=name,
        profile=profile,
        trials=[
            TrackedTrial(key, " = ".join(row for row, _ in same), same[0][1], store.paths(key).directory)
            for key, same in by_key.items()
        ],
        state=store.study(name).directory / f"mlflow-{profile}.json",
        artifacts=store.root / ARTIFACTS,
        tags={
            "farlab.study": name,
            "farlab.store": store.identity(),
            **({"farlab.table": str(about.table)} if about.table else {}),
        },
        title=about.title,
        source=about.source,
        command=about.command(profile),
        lockfile=store.study(name).lockfile(profile),
        varied=varied,
        baseline=about.baseline if reference else None,
        reference={key: reference[key] for key in varied if key in reference},
        summarise=summary_of(settings, name, profile),
    )
