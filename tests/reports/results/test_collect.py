"""Joining plan and store on a machine that lacks what the trials were made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab
from far.config import InitConfig
from far.data.sources.demo_writer import directory_of
from far.data.sources.manifest import FILE_NAME
from far.errors import DataError, WeightsError
from far.store.atomic import read_json, write_json
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import Workspace
from reports.results.cached_store import ReadOnce
from reports.results.collect import collect
from reports.results.fingerprints import DataContent, WeightsContent

FULL = {"state": "finished", "metrics": {"top1": 50.0, "top5": 90.0, "loss": 1.0}, "epochs": 7}


def fill(root: Path, study: str, content: str, weights: str | None = None) -> None:
    store = Store(root / "runs")
    plan = make_plan(load_study(study), store, manifest_hash=lambda data: content, weights_hash=lambda init: weights)
    for trial in plan.trials:
        paths = store.paths(trial.key)
        paths.directory.mkdir(parents=True, exist_ok=True)
        config = trial.config.model_dump(mode="json")
        result = {**FULL, "key": trial.key, "identity": trial.identity, "config": config, "data_hash": content}
        paths.result.write_text(json.dumps(result))


def test_a_store_is_read_where_its_data_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "head_ratio", "c" * 64)
    (results,) = collect(["head_ratio"])
    assert all(row.state.value == "finished" for row in results.rows)
    assert not results.problems
    assert not (tmp_path / "data").exists()
    fill(tmp_path, "head_ratio", "e" * 64)  # a second copy of the data: nobody can tell which is meant
    (results,) = collect(["head_ratio"])
    assert any("several contents" in problem for problem in results.problems)


def test_forgotten_overrides_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "head_ratio", "c" * 64)
    assert farlab.run(["report", "--table", "5", "recipe.epochs=2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the store holds 6 trials of other settings; the nearest has recipe.epochs = " in said
    assert "instead of 2" in said
    assert "model.attention" not in said  # equal head layouts are not called different


def test_data_of_an_earlier_versions_profile_are_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_study("head_ratio").rows[0].config.data
    folder = directory_of(data.demo, tmp_path / "data")
    folder.mkdir(parents=True)
    (folder / FILE_NAME).touch()  # generated, and nothing has run
    monkeypatch.setattr(Workspace, "stated_data_hash", lambda self, data: "c" * 64)
    (results,) = collect(["head_ratio"])
    assert {row.state.value for row in results.rows} == {"missing"}
    assert not results.problems


def test_content_that_cannot_be_known_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(load_settings(), ReadOnce(tmp_path / "runs"))
    config = load_study("head_ratio").rows[0].config
    with pytest.raises(DataError, match="no trial has run on it"):
        DataContent(workspace)(config.data)
    with pytest.raises(WeightsError):
        WeightsContent(workspace)(InitConfig(weights="none.pth"))
    assert WeightsContent(workspace)(InitConfig()) is None


def test_weights_that_are_not_here_are_known_by_their_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "tuned.yaml"
    study.write_text("study: tuned\nbase: {init.weights: gone.pth}\nrows:\n  one: {}\nseeds: 1\n")
    fill(tmp_path, str(study), "c" * 64, weights="a" * 64)
    (results,) = collect([study])
    assert results.rows[0].state.value == "finished"
    store = Store(tmp_path / "runs")
    (key,) = store.keys()
    found = read_json(store.paths(key).result)
    found["config"]["init"] = {"weights": "gone.pth", "family": None}  # as before there were further settings of it
    write_json(store.paths(key).result, found)
    (results,) = collect([study])
    assert results.rows[0].state.value == "finished"


def test_results_are_read_once_and_kept_once(tmp_path: Path) -> None:
    fill(tmp_path, "head_ratio", "c" * 64)
    store = ReadOnce(tmp_path / "runs")
    for key in store.keys():  # noqa: SIM118  (a method, not a mapping)
        found = read_json(store.paths(key).result)
        write_json(store.paths(key).result, {**found, "env": {"python": "3.11"}})
    results = [store.result(key) for key in store.keys()]  # noqa: SIM118
    assert len({id(result["env"]) for result in results if result}) == 1
    assert len(results) == 6
    assert store.result(store.keys()[0]) is results[0]
    assert store.state(store.keys()[0]) == "finished"
