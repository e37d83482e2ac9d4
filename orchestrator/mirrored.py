"""What of the store is mirrored into MLflow: a plan's studies, or whatever was ever submitted."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.frozen import frozen_keys, submission
from orchestrator.plan import Plan
from orchestrator.runs import Sweep, TrackedTrial
from orchestrator.store import Store


def sweeps_of(plan: Plan, store: Store) -> list[Sweep]:
    """Return one sweep a study of the plan."""
    return [
        _sweep(
            store, study.name, study.profile.name, study.table, [(t.row, t.seed, t.key) for t in plan.cells(study.name)]
        )
        for study in plan.studies
    ]


def submitted(store: Store, name: str) -> list[Sweep]:
    """Return one sweep a profile at which a study was submitted."""
    sweeps = []
    for path in store.study(name).submissions():
        cells = [(row, seed, key) for row, seeds in frozen_keys(path).items() for seed, key in seeds.items()]
        sweeps.append(_sweep(store, name, path.parent.name, submission(path).get("table"), cells))
    return sweeps


def _sweep(store: Store, name: str, profile: str, table: int | None, cells: Iterable[tuple[str, int, str]]) -> Sweep:
    """Rows that are the same trial make one run, named after all of them."""
    by_key: dict[str, list[tuple[str, int]]] = {}
    for row, seed, key in cells:
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
