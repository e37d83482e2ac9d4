"""Numbers that must not stand beside each other, from the store and from a tracking server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking import Mirror, Sweep, TrackedTrial
from reports.build import build_table
from reports.comparability import findings
from reports.from_mlflow import TrackingError, read_runs
from reports.renderers import RENDERERS
from reports.results import Results, TrialRecord
from reports.table import State

MakeResults = Callable[..., Results]


@pytest.mark.parametrize(
    ("change", "what"),
    [({"data_hash": "e" * 16}, "data"), ({"epochs": 3}, "epochs")],
)
def test_odd_trials_are_shown_and_not_averaged(change: Mapping[str, Any], what: str, make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=3, changes={("2:1", 1): change})
    table = build_table(results)
    row = table.rows[1]
    assert row.state is State.PARTIAL
    assert len(row.cells["top1"].values) == 2
    text = RENDERERS["term"]([table])
    assert f"other {what}" in text and "2:1 seed 1" in text


def test_views_of_a_whole_row(make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=2)
    for trial in results.row("1:2").trials:
        trial.result["config"]["data"]["views"]["clips"] = 5  # type: ignore[index]
    table = build_table(results)
    assert table.rows[2].cells["top1"].text == "not comparable"
    assert not table.rows[2].cells["top1"].best


def test_what_the_rows_vary_is_meant_to_differ(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "epochs.yaml"
    study.write_text("study: epochs\nrows:\n  short: {recipe.epochs: 2}\n  long: {recipe.epochs: 4}\n")
    assert not [f for f in findings(make_results(study)) if f.fatal]


def test_other_code_is_a_warning(make_results: MakeResults) -> None:
    code = {"version": "0.2.0", "git": "fffffff", "dirty": True}
    table = build_table(make_results("head_ratio", changes={("1:1", 0): {"code": code}}))
    assert table.rows[0].state is State.FINISHED
    notes = " ".join(note.text for note in table.notes)
    assert "other code version (0.2.0 instead of 0.1.0)" in notes
    assert "uncommitted changes" in notes


def test_unanswered_videos_are_marked(make_results: MakeResults) -> None:
    table = build_table(make_results("head_ratio", changes={("1:1", 0): {"evaluated": 190}}))
    assert table.rows[0].cells["top1"].marks == ("a",)
    assert "10 of 200 videos unanswered" in table.notes[0].text
    assert "190/200" in table.rows[0].cells["coverage"].text


def mirrored(results: Results, uri: str, root: Path) -> None:
    """Log a study's trials as a sweep does."""
    trials = [
        TrackedTrial(t.key, row.name, t.seed, t.directory)
        for row in results.rows
        for t in row.trials
        if t.directory is not None and t.directory.is_dir()
    ]
    for trial in trials:
        (trial.directory / "trial.json").write_text(json.dumps({"key": trial.key, "config": {}}))
    sweep = Sweep(results.study, results.profile, trials, root / "state.json", root / "artifacts", {})
    mirror = Mirror(uri, [sweep])
    assert mirror.close(), mirror.problem


@pytest.mark.slow
def test_a_tracking_server_gives_the_same_table(make_results: MakeResults, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    failed = {"state": "failed", "metrics": {}, "error": {"kind": "data", "message": "gone"}}
    results = make_results("head_ratio", seeds=3, changes={("2:1", 1): failed}, skip={("1:2", 2)})
    mirrored(results, uri, tmp_path)
    blank = [
        replace(row, trials=[TrialRecord(t.row, t.seed, t.key, State.MISSING, identity=t.identity) for t in row.trials])
        for row in results.rows
    ]
    plan = replace(results, rows=blank)
    found = read_runs(plan, uri, tmp_path / "cache")
    first, second = (json.loads(RENDERERS["json"]([build_table(r)])) for r in (results, found))
    assert first["rows"] == second["rows"]
    link = found.rows[0].trials[0].link
    assert link is not None and "/runs/" in link

    # Another machine, whose copy of the data differs, ran what is missing here.
    other = results.rows[2].trials[0]
    assert other.directory is not None
    foreign = tmp_path / "elsewhere" / "ffffffffffffffff"
    foreign.mkdir(parents=True)
    identity = json.loads(json.dumps(other.identity))
    identity["data"]["content"], identity["seed"] = "e" * 16, 2
    result = {**other.result, "key": foreign.name, "identity": identity, "data_hash": "e" * 16}
    (foreign / "result.json").write_text(json.dumps(result))
    (foreign / "trial.json").write_text(json.dumps({"key": foreign.name, "config": {}}))
    tracked = TrackedTrial(foreign.name, "1:2", 2, foreign)
    place = tmp_path / "elsewhere"
    assert Mirror(uri, [Sweep("head_ratio", "demo", [tracked], place / "s.json", place / "a", {})]).close()
    table = build_table(read_runs(plan, uri, tmp_path / "cache"))
    assert table.rows[2].state is State.PARTIAL
    assert any("not comparable, other data" in note.text for note in table.notes)


@pytest.mark.slow
def test_a_server_that_is_down(make_results: MakeResults, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        read_runs(make_results("head_ratio"), "http://127.0.0.1:9", tmp_path)
