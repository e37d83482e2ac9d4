"""The MLflow mirror on a real SQLite data base: nothing twice, nothing lost, nothing left running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from far.files import TrialPaths, append_json_line, write_json
from orchestrator.runs import Sweep, TrackedTrial
from orchestrator.tracking import Mirror

pytestmark = pytest.mark.slow  # making the data base takes seconds


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
            config = {"model": {"backbone": "tiny", "attention": {"global": 1}}, "seed": trial.seed}
            write_json(self.paths(trial.seed).trial, {"key": trial.key, "config": config})

    def paths(self, number: int) -> TrialPaths:
        return TrialPaths(self.trials[number].directory)

    def mirror(self) -> Mirror:
        state, artifacts = self.root / "state.json", self.root / "artifacts"
        return Mirror(self.uri, [Sweep("a_study", "demo", self.trials, state, artifacts, {"farlab.table": "5"})])

    def runs(self) -> dict[str, Run]:
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name("a_study")
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        named = {run.data.tags.get("farlab.key", "sweep"): run for run in found}
        assert len(named) == len(found), "a run was made twice"
        return named

    def steps(self, run: Run) -> list[int]:
        return [m.step for m in MlflowClient(self.uri).get_metric_history(run.info.run_id, "train_loss")]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_runs_are_nested_complete_and_closed(workspace: Workspace) -> None:
    for n in range(2):
        append_json_line(workspace.paths(0).metrics, epoch(n))
    write_json(workspace.paths(0).result, result("key0"))
    write_json(workspace.paths(1).result, result("key1", "diverged"))
    append_json_line(workspace.paths(2).metrics, epoch(0))  # interrupted
    assert workspace.mirror().close()

    runs = workspace.runs()
    assert {name: run.info.status for name, run in runs.items()} == {
        "sweep": "KILLED",
        "key0": "FINISHED",
        "key1": "FAILED",
        "key2": "KILLED",
    }
    parent, run = runs["sweep"], runs["key0"]
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.tags["farlab.table"] == "5"
    assert run.data.params["model.backbone"] == "tiny"
    assert run.data.params["row"] == "row 0's"
    assert run.data.metrics["final_top1"] == 50.0
    assert workspace.steps(run) == [1, 2]
    artifacts = {file.path for file in MlflowClient(workspace.uri).list_artifacts(run.info.run_id)}
    assert {"result.json", "metrics.jsonl", "trial.json"} <= artifacts


def test_a_restart_continues_the_same_runs(workspace: Workspace) -> None:
    append_json_line(workspace.paths(0).metrics, epoch(0))
    assert workspace.mirror().close()
    assert workspace.runs()["key0"].info.status == "KILLED"
    for n in (1, 2):
        append_json_line(workspace.paths(0).metrics, epoch(n))
    (workspace.root / "state.json").unlink()  # even without its memory: found again by tags
    write_json(workspace.paths(0).result, result("key0"))
    assert workspace.mirror().close()
    run = workspace.runs()["key0"]
    assert run.info.status == "FINISHED"
    assert workspace.steps(run) == [1, 2, 3]


def test_an_unreachable_store_is_a_note_not_an_end(workspace: Workspace) -> None:
    append_json_line(workspace.paths(0).metrics, epoch(0))
    good, workspace.uri = workspace.uri, f"sqlite:///{workspace.root / 'no' / 'such' / 'folder' / 'x.db'}"
    (workspace.root / "no").write_text("a file where a folder should be")
    broken = workspace.mirror()
    assert not broken.close(timeout=3.0)
    assert broken.problem
    workspace.uri = good
    assert workspace.mirror().close()
    assert workspace.steps(workspace.runs()["key0"]) == [1]


def test_a_rebuild_says_the_same_once(workspace: Workspace) -> None:
    for n in range(2):
        append_json_line(workspace.paths(0).metrics, epoch(n))
    write_json(workspace.paths(0).result, result("key0"))
    assert workspace.mirror().close()
    before = workspace.runs()["key0"]
    state, artifacts = workspace.root / "state.json", workspace.root / "artifacts"
    sweep = Sweep("a_study", "demo", workspace.trials, state, artifacts, {"farlab.table": "5"})
    assert Mirror(workspace.uri, [sweep], rebuild=True).close()
    after = workspace.runs()["key0"]  # it is the only one
    assert after.info.run_id != before.info.run_id
    assert (after.data.metrics, after.data.params) == (before.data.metrics, before.data.params)
    assert workspace.steps(after) == [1, 2]


def test_runs_that_somebody_deleted_or_a_kill_left_open(workspace: Workspace) -> None:
    append_json_line(workspace.paths(0).metrics, epoch(0))
    write_json(workspace.paths(0).result, result("key0", "diverged"))
    assert workspace.mirror().close()
    client = MlflowClient(workspace.uri)
    runs = workspace.runs()
    client.delete_run(runs["key0"].info.run_id)
    tags = {"farlab.kind": "trial", "farlab.key": "of an earlier study", "farlab.profile": "demo"}
    client.create_run(runs["sweep"].info.experiment_id, tags=tags)
    elsewhere = {**tags, "farlab.key": "of another store", "farlab.store": "elsewhere"}
    client.create_run(runs["sweep"].info.experiment_id, tags=elsewhere)
    workspace.paths(0).result.unlink()
    append_json_line(workspace.paths(0).metrics, epoch(1))
    write_json(workspace.paths(0).result, result("key0"))
    assert workspace.mirror().close()
    runs = workspace.runs()
    assert runs["of an earlier study"].info.status == "KILLED"
    assert runs["of another store"].info.status == "RUNNING"  # its own driver knows about it
    assert runs["key0"].info.status == "FINISHED"
    assert workspace.steps(runs["key0"]) == [1, 2]


def test_a_clock_that_went_back_gives_no_run_that_ends_before_it_starts(workspace: Workspace) -> None:
    append_json_line(workspace.paths(0).metrics, epoch(0))
    write_json(workspace.paths(0).result, result("key0"))  # finished long before the run was made
    assert workspace.mirror().close()
    info = workspace.runs()["key0"].info
    assert info.end_time >= info.start_time
