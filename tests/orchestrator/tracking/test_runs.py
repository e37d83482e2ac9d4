"""What a run of MLflow's says, and where its files lie."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from far.store.atomic import append_json_line, write_json
from orchestrator.tracking.mirror import Mirror
from tests.orchestrator.tracking.tracked import CODE, Workspace, epoch, finish, result

pytestmark = pytest.mark.slow  # each opens a data base


def milliseconds(text: str) -> int:
    return int(1000 * datetime.fromisoformat(f"2026-01-01T{text}+00:00").timestamp())


def test_what_a_run_says(workspace: Workspace) -> None:
    """Times are the trial's own, not those of the mirror; every name is the one that MLflow's pages know."""
    system = {"cpu_utilization_percentage": 50.0}
    append_json_line(workspace.paths(1).metrics, {**epoch(0), "seconds": 3.0, "system": system, "skipped_steps": 0})
    write_json(workspace.paths(1).result, {**result("key1"), "code": CODE, "evaluated": 20, "expected": 20})
    finish(workspace, 2, "diverged")
    assert workspace.mirror().close()
    runs = workspace.runs()
    run, parent = runs["key1"], runs["sweep"]
    assert (run.info.start_time, run.info.end_time) == (milliseconds("00:00:00") - 540_000, milliseconds("00:01:00"))
    assert (parent.info.start_time, parent.info.end_time) == (run.info.start_time, run.info.end_time)
    assert run.info.run_name == "s1 · row 1's"
    assert set(run.data.metrics) == {
        "train/loss", "val/top1", "cost/epoch_seconds", "system/cpu_utilization_percentage",
        "test/top1", "test/top5", "test/loss", "test/videos", "test/videos_expected", "cost/flops",
    }  # fmt: skip
    assert min(run.data.params) == "ablated/model.attention"
    assert run.data.params["ablated/model.attention"] == "global 1 : sparse-dense 2"
    assert {
        "mlflow.source.name": "/home/ann/a_study.yaml",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "c0ffee",
        "mlflow.source.git.dirty": "true",
        "mlflow.user": workspace.root.owner(),
    }.items() <= run.data.tags.items()
    assert "" not in run.data.tags.values() and "farlab.error" not in run.data.tags
    assert runs["key2"].data.tags["farlab.error"] == "the loss is nan"
    note = run.data.tags["mlflow.note.content"]
    assert "**row 1's**, seed 1" in note and "`farlab sweep a_study`" in note
    assert "`model.attention`: **global 1 : sparse-dense 2** instead of global 1 : sparse-dense 1" in note
    assert "3 rows, 3 trials" in parent.data.tags["mlflow.note.content"]
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("ssv2", "d" * 36)
    assert json.loads(data.dataset.profile) == {"num_rows": 60, "train": 40, "val": 20, "classes": 174}


def test_a_copy_and_a_moved_workspace_keep_their_artifacts_to_themselves(workspace: Workspace, tmp_path: Path) -> None:
    finish(workspace, 0)
    workspace.paths(0).predictions.write_bytes(b"scores")
    assert workspace.mirror().close()
    before, place = workspace.artifacts(), tmp_path / "copy"
    assert len(before) == 4
    shutil.copytree(workspace.root, place, ignore=shutil.ignore_patterns("copy"))
    copy = workspace.moved(place)
    finish(copy, 1)
    assert copy.mirror().close()
    client, run = MlflowClient(copy.uri), copy.runs()["key0"].info
    assert client.list_artifacts(run.run_id) and run.artifact_uri.startswith(place.as_uri())
    assert (len(copy.artifacts()), workspace.artifacts()) == (7, before)

    shutil.rmtree(workspace.root / "artifacts")
    place = place.rename(tmp_path / "moved")
    shutil.rmtree(place / "artifacts")  # what an earlier version had written to the old place
    moved = workspace.moved(place)
    assert moved.mirror().close()
    assert len(moved.artifacts()) == 7 and not workspace.artifacts() and not (tmp_path / "copy").exists()


def test_predictions_take_no_room_beside_the_store(workspace: Workspace) -> None:
    finish(workspace, 0)
    predictions = workspace.paths(0).predictions
    predictions.write_bytes(b"scores")
    assert workspace.mirror().close()
    run = workspace.runs()["key0"]
    [link] = (workspace.root / "artifacts").rglob(predictions.name)
    assert link.samefile(predictions) and run.info.run_id in link.parts


def test_a_row_that_is_renamed_is_renamed_in_its_run(workspace: Workspace) -> None:
    finish(workspace, 0)
    assert workspace.mirror().close()
    before = workspace.runs()["key0"]
    workspace.trials[0] = replace(workspace.trials[0], row="another name")
    assert workspace.mirror().close()
    after = workspace.runs()["key0"]
    assert (after.info.run_id, after.info.run_name) == (before.info.run_id, "s0 · another name")
    assert (after.data.params["row"], after.data.tags["farlab.row"]) == ("another name", "another name")
    assert after.data.metrics == before.data.metrics and after.info.status == "FINISHED"


def test_a_sweeps_run_has_its_plan_and_in_the_end_its_tables(workspace: Workspace) -> None:
    lockfile, made = workspace.root / "study.lock.yaml", []
    lockfile.write_text("study: a_study\n")

    def summarise(folder: Path) -> dict[str, float]:
        made.append((folder / "table.md").write_text("| row |"))
        return {"mean_top1/1:1 (γ)": 50.0, "mean_top1/1:1 (λ)": 40.0}

    def mirror() -> Mirror:
        return Mirror(workspace.uri, [replace(workspace.sweep(), lockfile=lockfile, summarise=summarise)])

    finish(workspace, 0)
    assert mirror().close() and not made  # two trials are to come
    for n in (1, 2):
        finish(workspace, n)
    for _ in range(2):
        assert mirror().close()
    assert len(made) == 1  # nothing has changed since
    parent, client = workspace.runs()["sweep"], MlflowClient(workspace.uri)
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "study.lock.yaml", "plan.csv", "report",
    }  # fmt: skip
    assert sorted(parent.data.metrics.items()) == [("mean_top1/1:1 ___", 50.0), ("mean_top1/1:1 ____", 40.0)]
