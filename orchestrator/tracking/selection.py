"""Select which studies to mirror to MLflow: a plan's, or all submitted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from far.errors import FarError
from orchestrator.plan.lockfile import load_lockfile, locked_keys, read_lockfile
from orchestrator.plan.plan import Plan
from orchestrator.plan.proposals import KEY
from orchestrator.store.store import Store
from orchestrator.study import Study
from orchestrator.tracking.tracked import Sweep, TrackedTrial

Cell = tuple[str, int, str]
"""Name of a row or of a proposal, seed, and key."""


def sweeps_of(plan: Plan, store: Store) -> list[Sweep]:
    """Return one sweep a study of the plan."""
    return [
        _sweep(
            store,
            study.name,
            study.profile.name,
            study.table,
            [(t.row, t.seed, t.key) for t in plan.cells(study.name)],
            proposals(study, store),
        )
        for study in plan.studies
    ]


def submitted(store: Store, name: str) -> list[Sweep]:
    """Return one sweep a profile at which a study was submitted."""
    sweeps = []
    for path in store.study(name).submissions():
        cells = [(row, seed, key) for row, seeds in locked_keys(path).items() for seed, key in seeds.items()]
        record = read_lockfile(path)
        proposed: list[Cell] = []
        if record.get("search"):
            with contextlib.suppress(FarError):  # of another version, or damaged: its rows can be mirrored all the same
                proposed = proposals(load_lockfile(path), store)
        sweeps.append(_sweep(store, name, path.parent.name, record.get("table"), cells, proposed))
    return sweeps


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


def _sweep(
    store: Store, name: str, profile: str, table: int | None, cells: Sequence[Cell], proposed: Sequence[Cell]
) -> Sweep:
    """Rows that are the same trial make one run, named after all of them; a proposal that is a row is the row."""
    rows = {key for _, _, key in cells}
    by_key: dict[str, list[tuple[str, int]]] = {}
    for row, seed, key in (*cells, *(cell for cell in proposed if cell[2] not in rows)):
        by_key.setdefault(key, []).append((row, seed))
    return Sweep(
        study=name,
        profile=profile,
        trials=[
            TrackedTrial(key, " = ".join(row for row, _ in same), same[0][1], store.paths(key).directory)
            for key, same in by_key.items()
        ],
        state=store.study(name).directory / f"mlflow-{profile}.json",
        artifacts=store.root / "mlartifacts",
        tags={
            "farlab.study": name,
            "farlab.store": store.identity(),
            **({"farlab.table": str(table)} if table else {}),
        },
    )
