"""The MLflow mirror on a real SQLite data base: nothing twice, nothing lost, nothing left running."""

from __future__ import annotations

import shutil

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from far.store.atomic import append_json_line, read_json, write_json
from orchestrator.tracking.mlflow_backend import SweepMirror
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from tests.orchestrator.tracking.tracked import Workspace, epoch, finish, result

pytestmark = pytest.mark.slow  # each opens a data base


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
    assert run.data.metrics["test/top1"] == 50.0
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


def test_a_rebuild_says_the_same_once(workspace: Workspace) -> None:
    for n in range(2):
        append_json_line(workspace.paths(0).metrics, epoch(n))
    write_json(workspace.paths(0).result, result("key0"))
    assert workspace.mirror().close()
    before = workspace.runs()["key0"]
    assert workspace.mirror(rebuild=True).close()
    after = workspace.runs()["key0"]  # it is the only one
    assert after.info.run_id != before.info.run_id
    assert (after.data.metrics, after.data.params) == (before.data.metrics, before.data.params)
    assert workspace.steps(after) == [1, 2]


def test_a_run_is_found_again_under_its_rows_new_name(workspace: Workspace) -> None:
    finish(workspace, 0)
    assert workspace.mirror().close()
    before = workspace.runs()["key0"]
    (workspace.root / "state.json").unlink()
    workspace.trials[0] = TrackedTrial("key0", "another name", 0, workspace.trials[0].directory)
    assert workspace.mirror().close()
    after = workspace.runs()["key0"]
    assert after.info.run_id == before.info.run_id
    assert after.data.tags["farlab.row"] == "another name"


def test_pruned_trials_do_not_make_a_search_look_killed(workspace: Workspace) -> None:
    finish(workspace, 0)
    for n in (1, 2):
        finish(workspace, n, "partial")
    assert workspace.mirror().close()
    assert {name: run.info.status for name, run in workspace.runs().items()} == {
        "sweep": "FINISHED",
        "key0": "FINISHED",
        "key1": "KILLED",
        "key2": "KILLED",
    }


def test_what_was_sent_is_remembered_before_everything_is(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import orchestrator.tracking.mlflow_backend

    monkeypatch.setattr(orchestrator.tracking.mlflow_backend, "SAVE_SECONDS", 0.0)
    for n in range(3):
        finish(workspace, n)
    mirror, seen = workspace.mirror(), []

    def look() -> None:
        state = read_json(workspace.root / "state.json") or {"runs": {}}
        seen.append(sum(run.get("status") == "FINISHED" for run in state["runs"].values()))

    step = mirror._step

    def watched() -> None:
        step()
        look()

    monkeypatch.setattr(mirror, "_step", watched)
    assert mirror.close()
    assert sorted(set(seen)) == [0, 1, 2]  # the third is kept after the last look


def test_credentials_are_not_remembered_and_a_new_password_is_no_new_server(workspace: Workspace) -> None:
    state = workspace.root / "state.json"
    sweep = Sweep("a_study", "demo", workspace.trials, state, workspace.root / "artifacts", {})
    known = {"key0": {"run_id": "r", "epochs": 0}}
    write_json(state, {"uri": "http://bob:s3cret@127.0.0.1:9", "runs": known, "parent": "p"})
    mirror = SweepMirror("http://bob:another@127.0.0.1:9", sweep)  # as an earlier version has kept it
    assert mirror._state["runs"] == known
    mirror._save(now=True)
    assert "s3cret" not in state.read_text() and "another" not in state.read_text()
    assert SweepMirror("http://127.0.0.1:10", sweep)._state["runs"] == {}


def test_a_trial_that_is_run_anew_gets_a_run_of_its_own(workspace: Workspace) -> None:
    paths = workspace.paths(0)
    for number in range(2):
        append_json_line(paths.metrics, epoch(number))
    write_json(paths.result, result("key0"))
    assert workspace.mirror().close()
    before = workspace.runs()["key0"]

    place = paths.earlier / "1"
    place.mkdir(parents=True)
    for file in (paths.metrics, paths.result, paths.trial):
        shutil.copy(file, place)
    paths.metrics.unlink()
    append_json_line(paths.metrics, epoch(0))
    assert workspace.mirror().close()
    client = MlflowClient(workspace.uri)
    found = client.search_runs([before.info.experiment_id], "tags.`farlab.key` = 'key0'")
    kinds = {run.data.tags["farlab.kind"]: run for run in found}
    assert kinds["earlier trial"].info.run_id == before.info.run_id
    assert workspace.steps(kinds["earlier trial"]) == [1, 2]
    assert workspace.steps(kinds["trial"]) == [1]


def test_a_rebuild_leaves_nothing_behind(workspace: Workspace) -> None:
    for n in range(2):
        finish(workspace, n)
    assert workspace.mirror().close()
    client, before = MlflowClient(workspace.uri), workspace.runs()
    client.delete_run(before["key0"].info.run_id)  # as earlier versions did, which left it there
    assert workspace.mirror(rebuild=True).close()
    experiment = before["sweep"].info.experiment_id
    assert client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY) == []
    runs = workspace.runs()
    assert {run.info.run_id for run in runs.values()}.isdisjoint(run.info.run_id for run in before.values())
    assert {path.split("/")[2] for path in workspace.artifacts()} == {runs[f"key{n}"].info.run_id for n in range(2)}


@pytest.mark.parametrize("remembers", [True, False])
def test_runs_of_an_earlier_version_are_written_again(workspace: Workspace, remembers: bool) -> None:
    """Its metrics have flat names, which a page would show beside those of this version."""
    finish(workspace, 0)
    client = MlflowClient(workspace.uri)
    experiment = client.create_experiment("a_study", artifact_location=(workspace.root / "artifacts").as_uri())
    tags = {"farlab.profile": "demo", "farlab.store": "s" * 32, "farlab.kind": "trial", "farlab.key": "key0"}
    run = client.create_run(experiment, tags=tags)
    client.log_metric(run.info.run_id, "final_top1", 50.0)
    known = {"key0": {"run_id": run.info.run_id, "epochs": 1, "status": "FINISHED"}}
    write_json(workspace.root / "state.json", {"uri": workspace.uri, "runs": known if remembers else {}})
    notes: list[str] = []
    assert workspace.mirror().close(on_note=notes.append)
    assert "final_top1" not in workspace.runs()["key0"].data.metrics
    assert len(notes) == 1 and notes[0].startswith("study 'a_study': 1 of its MLflow runs were written again")
    assert workspace.mirror().close(on_note=notes.append) and len(notes) == 1
