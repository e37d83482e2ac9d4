"""What goes wrong between the mirror and MLflow holds nothing else back, and is made up for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from far.errors import FarError
from far.store.atomic import append_json_line, write_json
from orchestrator.tracking.mirror import Mirror
from tests.orchestrator.tracking.tracked import Workspace, epoch, finish, result

pytestmark = pytest.mark.slow  # each opens a data base


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


def test_runs_that_somebody_deleted_or_a_kill_left_open(workspace: Workspace) -> None:
    append_json_line(workspace.paths(0).metrics, epoch(0))
    write_json(workspace.paths(0).result, result("key0", "diverged"))
    assert workspace.mirror().close()
    client = MlflowClient(workspace.uri)
    runs = workspace.runs()
    client.delete_run(runs["key0"].info.run_id)
    tags = {"farlab.kind": "trial", "farlab.key": "of an earlier study", "farlab.profile": "demo"}
    client.create_run(runs["sweep"].info.experiment_id, tags=tags | {"farlab.store": "s" * 32})
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


def test_files_that_cannot_be_uploaded_hold_nothing_back(workspace: Workspace) -> None:
    for n in range(3):
        finish(workspace, n)
    (workspace.root / "artifacts").touch()  # as a server whose artifacts this client may not write
    broken = workspace.mirror()
    assert not broken.close()
    assert [text.partition(":")[0] for text in broken.troubles] == [f"row {n}'s, seed {n}" for n in range(3)]
    assert "its files cannot be uploaded" in broken.troubles[0]
    assert broken.reason.startswith("3 of its trials: row 0's, seed 0: ")
    runs = workspace.runs()
    assert {run.info.status for run in runs.values()} == {"FINISHED"}  # the parent's, too
    assert all(runs[f"key{n}"].data.metrics["test/top1"] == 50.0 for n in range(3))

    (workspace.root / "artifacts").unlink()
    assert workspace.mirror().close()
    after = workspace.runs()
    assert {name: run.info.run_id for name, run in after.items()} == {n: run.info.run_id for n, run in runs.items()}
    client = MlflowClient(workspace.uri)
    for n in range(3):
        files = {file.path for file in client.list_artifacts(after[f"key{n}"].info.run_id)}
        assert {"result.json", "metrics.jsonl", "trial.json"} == files
        assert workspace.steps(after[f"key{n}"]) == [1]


def test_what_mlflow_refuses_of_one_trial_holds_no_other_back(workspace: Workspace) -> None:
    append_json_line(workspace.paths(0).metrics, {**epoch(0), "val_top1@5": 1.0})  # a name that MLflow does not take
    write_json(workspace.paths(0).result, result("key0"))
    workspace.paths(1).metrics.write_text('{"no": "epoch", "x": 1}\n')
    finish(workspace, 2)
    mirror = workspace.mirror()
    mirror.start()
    assert not mirror.close()
    assert [text.partition(":")[0] for text in mirror.troubles] == [
        "row 0's, seed 0"
    ]  # a damaged line is as good as none
    assert "val/top1@5" in mirror.troubles[0]
    runs = workspace.runs()
    assert runs["key2"].info.status == "FINISHED"
    assert runs["key2"].data.metrics["test/top1"] == 50.0
    assert runs["sweep"].info.status != "RUNNING"

    workspace.paths(0).metrics.unlink()
    append_json_line(workspace.paths(0).metrics, epoch(0))
    workspace.paths(1).metrics.unlink()
    finish(workspace, 1)
    assert workspace.mirror().close()
    assert {run.info.status for run in workspace.runs().values()} == {"FINISHED"}


def test_a_deleted_parent_makes_no_second_run(workspace: Workspace) -> None:
    for n in range(2):
        finish(workspace, n)
    assert workspace.mirror().close()
    before, client = workspace.runs(), MlflowClient(workspace.uri)
    for state_is_lost in (False, True):
        client.delete_run(workspace.runs()["sweep"].info.run_id)
        if state_is_lost:
            (workspace.root / "state.json").unlink()
        assert workspace.mirror().close()
        after = workspace.runs()
        assert after["sweep"].info.run_id != before["sweep"].info.run_id
        for key in ("key0", "key1"):
            assert after[key].info.run_id == before[key].info.run_id
            assert after[key].data.tags["mlflow.parentRunId"] == after["sweep"].info.run_id
            assert after[key].info.status == "FINISHED"
            assert workspace.steps(after[key]) == [1]


def test_artifacts_are_not_written_among_the_trials(workspace: Workspace) -> None:
    finish(workspace, 0)
    finish(workspace, 1)
    client = MlflowClient(workspace.uri)
    victim = workspace.paths(1).directory  # a server names another trial's folder as the place of this one's files
    client.create_experiment("a_study", artifact_location=victim.as_uri())
    truth = {file.name: file.read_bytes() for file in victim.iterdir()}
    mirror = workspace.mirror()
    assert not mirror.close()
    assert "the tracking server wants them in" in mirror.troubles[0]  # a long path is cut off
    assert {file.name: file.read_bytes() for file in victim.iterdir()} == truth


def test_tables_that_cannot_be_made_hold_nothing_back(workspace: Workspace) -> None:
    def summarise(folder: Path) -> dict[str, float]:
        raise FarError("the study cannot be read")

    for n in range(3):
        finish(workspace, n)
    notes: list[str] = []
    assert Mirror(workspace.uri, [replace(workspace.sweep(), summarise=summarise)]).close(on_note=notes.append)
    assert len(notes) == 1 and "MLflow does not have its tables and figures: FarError: the study cannot" in notes[0]
    assert {run.info.status for run in workspace.runs().values()} == {"FINISHED"}
