"""The MLflow mirror on a real SQLite data base: nothing twice, nothing lost, nothing left running."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from far.errors import FarError
from far.store.atomic import append_json_line, read_json, write_json
from far.store.paths import TrialPaths
from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.mlflow_backend import SweepMirror
from orchestrator.tracking.tracked import Sweep, TrackedTrial

CODE = {"version": "0.2", "git": "c0ffee", "dirty": True}
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


@pytest.fixture
def workspace(tmp_path: Path, mlflow_database: Path) -> Workspace:
    shutil.copy(mlflow_database, tmp_path)
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
    assert workspace.mirror(rebuild=True).close()
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


def finish(workspace: Workspace, number: int, state: str = "finished") -> None:
    append_json_line(workspace.paths(number).metrics, epoch(0))
    write_json(workspace.paths(number).result, result(f"key{number}", state))


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


def test_artifacts_are_not_written_among_the_trials(workspace: Workspace) -> None:
    finish(workspace, 0)
    finish(workspace, 1)
    client = MlflowClient(workspace.uri)
    victim = workspace.paths(1).directory  # a server names another trial's folder as the place of this one's files
    client.create_experiment("a_study", artifact_location=victim.as_uri())
    truth = {file.name: file.read_bytes() for file in victim.iterdir()}
    mirror = workspace.mirror()
    assert not mirror.close()
    assert "where trials themselves are kept" in mirror.troubles[0]
    assert {file.name: file.read_bytes() for file in victim.iterdir()} == truth


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


def test_tables_that_cannot_be_made_hold_nothing_back(workspace: Workspace) -> None:
    def summarise(folder: Path) -> dict[str, float]:
        raise FarError("the study cannot be read")

    for n in range(3):
        finish(workspace, n)
    notes: list[str] = []
    assert Mirror(workspace.uri, [replace(workspace.sweep(), summarise=summarise)]).close(on_note=notes.append)
    assert len(notes) == 1 and "MLflow does not have its tables and figures: FarError: the study cannot" in notes[0]
    assert {run.info.status for run in workspace.runs().values()} == {"FINISHED"}
