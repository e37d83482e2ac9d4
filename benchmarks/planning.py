"""Planning and store look-ups over thousands of trials: seconds, and whether they grow linearly.

    python benchmarks/planning.py [--trials 10000]

Writes a store of finished trials into a temporary folder, then measures, each at n and at n / 4 trials: loading and
expanding the study, planning against an empty store, planning against the full one. A ratio near 4 is linear.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.plan.plan import Plan, make_plan
from orchestrator.store.store import Store
from orchestrator.study import Study, load_study

SEEDS = 5
SHRINK = 4


def write_study(path: Path, trials: int) -> None:
    """Write a study of about so many trials: a grid of learning rates and weight decays, times the seeds."""
    rates = max(1, trials // (SEEDS * 10))
    grid = {
        "recipe.lr": [1e-5 * (i + 1) for i in range(rates)],
        "recipe.weight_decay": [0.01 * i for i in range(10)],
    }
    path.write_text(json.dumps({"study": "big", "grid": grid, "seeds": SEEDS}))


def fill(store: Store, plan: Plan) -> None:
    """Write a result of usual size for every trial."""
    for trial in plan.trials:
        result = {
            "key": trial.key,
            "state": "finished",
            "metrics": {"top1": 50.0, "top5": 90.0, "loss": 1.0},
            "identity": trial.identity,
            "config": trial.config.model_dump(mode="json"),
            "attempts": [{"started_at": "2026-01-01T00:00:00+00:00", "host": "a", "pid": 1, "epoch": 0}],
        }
        path = store.paths(trial.key).result
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(result, indent=1))


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result; the best of three, as other work on the machine only ever adds."""
    best, value = float("inf"), None
    for _ in range(3):
        started = time.perf_counter()
        value = function()
        best = min(best, time.perf_counter() - started)
    return best, value


def measure(folder: Path, trials: int) -> dict[str, float]:
    """Return seconds by step for a study of so many trials."""
    path, store = folder / f"{trials}.yaml", Store(folder / f"runs-{trials}")
    write_study(path, trials)

    def plan(study: Study) -> Plan:
        return make_plan(study, store, manifest_hash=lambda data: "content")

    load, study = timed(lambda: load_study(path))
    empty, planned = timed(lambda: plan(study))
    fill(store, planned)
    full, again = timed(lambda: plan(study))
    assert not again.missing()
    return {"trials": len(planned.trials), "load": load, "plan, empty store": empty, "plan, all finished": full}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory(prefix="farlab-planning-") as folder:
        small, large = (measure(Path(folder), n) for n in (trials // SHRINK, trials))
    print(f"{'':22}{small.pop('trials'):>10.0f}{large.pop('trials'):>10.0f} trials     ratio")
    for step in large:
        print(f"{step:22}{small[step]:9.2f}s{large[step]:9.2f}s{large[step] / small[step]:16.1f}")
    print(f"{'load + plan, finished':22}{'':10}{large['load'] + large['plan, all finished']:9.2f}s")


if __name__ == "__main__":
    main()
