"""Tables from a tracking server over HTTP, on a machine that has neither the store nor the data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import farlab
from orchestrator.chaos.site import Server
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.tracking.mirror import Mirror, connect
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import Workspace
from reports.renderers import RENDERERS
from reports.results.collect import join
from reports.results.mlflow import read_runs
from reports.results.results import Results
from reports.tables.ablation import build_table

MakeResults = Callable[..., Results]

pytestmark = pytest.mark.slow  # the server takes ten seconds to start


def test_the_table_of_a_server_is_that_of_the_store(
    server: Server,
    make_results: MakeResults,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd = {("2:1", 1): {"unanswered": range(9)}}
    results = make_results("head_ratio", {"1:1": 0.7, "2:1": 0.6, "1:2": 0.5}, changes=odd, skip={("1:2", 2)}, seeds=3)
    known = [t for row in results.rows for t in row.planned if t.directory is not None and t.directory.is_dir()]
    for trial in known:
        (trial.directory / "trial.json").write_text(json.dumps({"key": trial.key, "config": {}}))
    trials = [TrackedTrial(t.key, t.row, t.seed, t.directory) for t in known]
    sweep = Sweep(results.study, results.profile, trials, tmp_path / "state.json", tmp_path / "artifacts", {})
    mirror = Mirror(server.uri, [sweep])
    assert mirror.close(), mirror.problem
    capsys.readouterr()  # MLflow's own words about each run

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    asked = ["report", "--study", "head_ratio", "--seeds", "3", "--from", server.uri, "--format"]
    assert farlab.run([*asked, "json"]) == 0
    found = json.loads(capsys.readouterr().out)["rows"]
    expected = json.loads(RENDERERS["json"]([build_table(results)]))["rows"]
    for row in (*found, *expected):
        row["seeds"]["2"].pop("key")  # what has not run has no key where the data are not known
    assert found == expected
    assert farlab.run([*asked, "html", "-o", "t.html"]) == 0
    assert server.uri not in Path("t.html").read_text()  # this machine's own server: others cannot open it
    asked[-1:] = ["--explain", "1:1", "top1"]
    assert farlab.run(asked) == 0
    assert f"run {server.uri}/#/experiments/" in capsys.readouterr().out
    asked[-3:] = ["--format"]
    client, kept = connect(server.uri), lambda: {path.parts[-3] for path in (tmp_path / "server").rglob("result.json")}
    before = kept()
    renamed = replace(sweep, trials=[replace(trials[0], row="another name"), *trials[1:]])
    assert Mirror(server.uri, [renamed]).close()  # a server keeps a parameter for ever: another run
    experiment = client.get_experiment_by_name(results.study).experiment_id
    [run] = client.search_runs([experiment], f"params.row = 'another name' and tags.`farlab.key` = '{trials[0].key}'")
    assert kept() - before == {run.info.run_id} and len(kept()) == len(before)
    assert Mirror(server.uri, [sweep], rebuild=True).close()
    assert not kept() & before and len(kept()) == len(before)
    assert len(client.search_runs([experiment])) == len(trials) + 1
    server.stop()
    assert farlab.run([*asked, "json"]) == 1
    assert server.uri in capsys.readouterr().err


def test_rows_of_a_server_are_told_apart_by_marks(make_results: MakeResults, tmp_path: Path) -> None:
    """On other data, where a run is known by its row and settings: tags hold no quotes, and join rows by ' = '."""
    study = tmp_path / "marks.yaml"
    rows = {"FAR": {}, "FAR'": {"model.interaction": "none"}, "lr = 1": {"recipe.lr": 1.0}}
    study.write_text(json.dumps({"study": "marks", "rows": rows, "seeds": 1}))
    there = make_results(study, {"FAR": 0.7, "FAR'": 0.6, "lr = 1": 0.5}, seeds=1)
    trials = [TrackedTrial(t.key, t.row, t.seed, t.directory) for row in there.rows for t in row.planned]
    sweep = Sweep("marks", "demo", trials, tmp_path / "state.json", tmp_path / "artifacts", {})
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mirror = Mirror(uri, [sweep])
    assert mirror.close(), mirror.problem
    plan = make_plan(load_study(study), Store(tmp_path / "here"), manifest_hash=lambda data: "e" * 16)
    here = join(load_study(study), plan.trials, Workspace(load_settings(tmp_path), Store(tmp_path / "here")))
    found = read_runs(here, uri, tmp_path / "cache")
    assert [row.by_seed("top1") for row in found.rows] == [row.by_seed("top1") for row in there.rows]
    assert all(row.finished for row in found.rows)
