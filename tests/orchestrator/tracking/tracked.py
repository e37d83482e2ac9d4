"""Trials to be mirrored, and what MLflow then has of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from far.store.atomic import append_json_line, write_json
from far.store.paths import TrialPaths
from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.tracked import Sweep, TrackedTrial

CODE = {"version": "0.2", "git": "c0ffee", "dirty": True}


def epoch(number: int) -> dict[str, Any]:
    return {
        "epoch": number,
        "time": f"2026-01-01T00:00:{number:02d}+00:00",
        "train_loss": 2.0 - number / 10,
        "val_top1": 10.0 * number,
        "val_loss": None,
    }


def result(key: str, state: str = "finished") -> dict[str, Any]:
    return {
        "key": key,
        "state": state,
        "metrics": {"top1": 50.0, "top5": 90.0, "loss": 1.5} if state == "finished" else {},
        "flops": 1000,
        "error": None if state == "finished" else {"kind": "diverged", "message": "the loss is nan"},
        "finished_at": "2026-01-01T00:01:00+00:00",
    }


class Workspace:
    def __init__(self, root: Path) -> None:
        self.root, self.uri = root, f"sqlite:///{root / 'mlflow.db'}"
        self.trials = [TrackedTrial(f"key{n}", f"row {n}'s", n, root / "trials" / f"key{n}") for n in range(3)]
        for trial in self.trials:
            config = {
                "model": {"backbone": "tiny", "attention": {"global": 1, "sparse-dense": trial.seed + 1}},
                "data": {"source": "/data/ssv2", "classes": 174},
                "seed": trial.seed,
            }
            attempt = {"started_at": f"2025-12-31T23:5{trial.seed}:00+00:00", "code": CODE}
            spec = {"key": trial.key, "config": config, "identity": {"data": {"content": "d" * 64}}}
            write_json(
                self.paths(trial.seed).trial, {**spec, "attempts": [attempt], "videos": {"train": 40, "val": 20}}
            )

    def paths(self, number: int) -> TrialPaths:
        return TrialPaths(self.trials[number].directory)

    def sweep(self) -> Sweep:
        return Sweep(
            "a_study", "demo", self.trials, self.root / "state.json", self.root / "artifacts",
            {"farlab.table": "5", "farlab.store": "s" * 32},
            "Head ratios", "/home/ann/a_study.yaml", "farlab sweep a_study",
            varied=["model.attention"], baseline="row 0's",
            reference={"model.attention": {"global": 1, "sparse-dense": 1}},
        )  # fmt: skip

    def mirror(self, *, rebuild: bool = False) -> Mirror:
        return Mirror(self.uri, [self.sweep()], rebuild=rebuild)

    def moved(self, place: Path) -> Workspace:
        """Return the workspace as it is in a copy of its folder."""
        other = Workspace.__new__(Workspace)
        other.root, other.uri = place, f"sqlite:///{place / 'mlflow.db'}"
        other.trials = [replace(trial, directory=place / "trials" / trial.key) for trial in self.trials]
        return other

    def artifacts(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in (self.root / "artifacts").rglob("*") if path.is_file()}

    def runs(self) -> dict[str, Run]:
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name("a_study")
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        named = {run.data.tags.get("farlab.key", "sweep"): run for run in found}
        assert len(named) == len(found), "a run was made twice"
        return named

    def steps(self, run: Run) -> list[int]:
        return [m.step for m in MlflowClient(self.uri).get_metric_history(run.info.run_id, "train/loss")]


def finish(workspace: Workspace, number: int, state: str = "finished") -> None:
    append_json_line(workspace.paths(number).metrics, epoch(0))
    write_json(workspace.paths(number).result, result(f"key{number}", state))
