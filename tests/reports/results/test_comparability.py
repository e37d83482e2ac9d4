"""Numbers that must not stand beside each other, from the store and from a tracking server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from reports.renderers import RENDERERS
from reports.results.mlflow import TrackingError, read_runs
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord
from reports.tables.ablation import build_table

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


def test_a_row_that_starts_with_a_trained_head_is_marked(make_results: MakeResults) -> None:
    trained = {"init": {"loaded": ["fc_norm.weight", "head.weight"], "fresh": {"blocks.0.interaction.conv.weight": ""}}}
    fresh = {"init": {"loaded": ["fc_norm.weight"], "fresh": {"head.weight": "the file has no head"}}}
    rows = {(row, seed): trained if row == "2:1" else fresh for row in ("1:1", "2:1", "1:2") for seed in (0, 1)}
    table = build_table(make_results("head_ratio", seeds=2, changes=rows))
    told = "rows start differently: head.weight of the file in '2:1', random in '1:1' and '1:2'"
    assert f"Careful: {told}." in [note.text for note in table.notes]
    (marked,) = [note for note in table.notes if note.mark]
    assert marked.text.startswith("2:1, starts from other tensors")
    assert all(row.state is State.FINISHED for row in table.rows)  # said, not hidden
    same = make_results("head_ratio", seeds=2, changes=dict.fromkeys(rows, fresh))
    assert not [note for note in build_table(same).notes if "start differently" in note.text]


def test_views_of_a_whole_row(make_results: MakeResults) -> None:
    other = {"views": {"frames": 16, "clips": 5, "crops": 1}}
    results = make_results("head_ratio", seeds=2, changes={("1:2", seed): other for seed in range(2)})
    table = build_table(results)
    assert table.rows[2].cells["top1"].text == "not comparable"
    assert not table.rows[2].cells["top1"].best


def test_what_the_rows_vary_is_meant_to_differ(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "epochs.yaml"
    study.write_text("study: epochs\nrows:\n  short: {recipe.epochs: 2}\n  long: {recipe.epochs: 4}\n")
    assert not [f for f in make_results(study).findings if f.fatal]


def test_other_code_is_a_warning(make_results: MakeResults) -> None:
    code = {"version": "0.2.0", "git": "fffffff", "dirty": True}
    table = build_table(make_results("head_ratio", changes={("1:1", 0): {"code": code}}))
    assert table.rows[0].state is State.FINISHED
    notes = " ".join(note.text for note in table.notes)
    assert "other code version (0.2.0 instead of 0.1.0)" in notes
    assert "uncommitted changes" in notes


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"execution": {"precision": "bf16"}}, "other precision (bf16 instead of fp32): 1:1 seed 0"),
        (
            {"env": {"device": "NVIDIA A100-SXM4-80GB"}},
            "other device (NVIDIA A100-SXM4-80GB instead of NVIDIA A100-SXM4-40GB)",
        ),
        ({"env": {"cudnn": 91002}}, "other cuDNN version (91002 instead of 91900): 1:1 seed 0"),
        ({"env": {"deepspeed": "0.19.5"}}, "other DeepSpeed version (0.19.5 instead of 0.19.8): 1:1 seed 0"),
        ({"decoders": {"pyav 18.1.0": 9}}, "other video decoders (pyav 18.1.0 instead of decord 0.6.0, pyav 18.1.0)"),
    ],
)
def test_other_precision_device_and_decoders_are_averaged_and_said(
    change: Mapping[str, Any], text: str, make_results: MakeResults
) -> None:
    """``recipe.precision: auto`` is bf16 on one device and fp32 on another, under one key."""
    usual = {
        "execution": {"precision": "fp32"},
        "env": {"device": "NVIDIA A100-SXM4-40GB", "cudnn": 91900, "deepspeed": "0.19.8"},
        "decoders": {"decord 0.6.0": 8, "pyav 18.1.0": 1},
    }
    changes = {(row, seed): usual for row in ("1:1", "2:1", "1:2") for seed in (0, 1)}
    table = build_table(make_results("head_ratio", changes={**changes, ("1:1", 0): {**usual, **change}}))
    assert table.rows[0].state is State.FINISHED
    assert any(note.text.startswith(f"Careful: {text}") for note in table.notes)
    assert not any("other" in note.text for note in build_table(make_results("head_ratio", changes=changes)).notes)


def test_fp16_that_earlier_versions_did_not_scale_is_said(make_results: MakeResults) -> None:
    changes = {(row, seed): {"execution": {"precision": "fp16"}} for row in ("1:1", "2:1", "1:2") for seed in (0, 1)}
    scaled = {"execution": {"precision": "fp16", "zero_stage": 1}}
    found = [f for f in make_results("head_ratio", changes=changes).findings if f.what == "loss scale"]
    assert (len(found), len(found[0].keys), found[0].fatal) == (1, 6, False)
    (mixed,) = make_results("head_ratio", changes={**changes, ("1:1", 0): scaled}).findings
    assert (mixed.what, mixed.fatal) == ("loss scale", True)  # kept apart from a number that is right
    assert "1:1 seed 0" not in mixed.text and "1:1 seed 1" in mixed.text


def test_skipped_steps_stand_under_the_table(make_results: MakeResults) -> None:
    table = build_table(make_results("head_ratio", changes={("1:1", 0): {"steps": 400, "skipped_steps": 3}}))
    assert [n.text for n in table.notes if "skipped" in n.text] == [
        "1:1, seed 0: 3 of 400 optimiser steps skipped, their gradients not finite."
    ]


def test_precision_that_the_rows_vary_is_meant_to_differ(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "precision.yaml"
    study.write_text("study: precision\nrows:\n  a: {recipe.precision: fp32}\n  b: {recipe.precision: bf16}\n")
    changes = {(r, s): {"execution": {"precision": p}} for r, p in (("a", "fp32"), ("b", "bf16")) for s in (0, 1)}
    assert not make_results(study, changes=changes).findings


def test_a_trial_begun_under_another_commit_is_said(make_results: MakeResults) -> None:
    first, last = ({"version": "0.1.0", "git": letter * 40, "dirty": False} for letter in "ab")
    attempts = [{"code": {**first, "dirty": True}}, {"code": last}]
    changes = {(row, seed): {"code": last} for row in ("1:1", "2:1", "1:2") for seed in (0, 1)}
    changes["2:1", 1] = {"code": last, "attempts": attempts}
    notes = [note.text for note in build_table(make_results("head_ratio", changes=changes)).notes]
    said = f"begun under one commit and finished under another: 2:1 seed 1 ({'a' * 12} → {'b' * 12})"
    assert f"Careful: {said}." in notes
    assert "Careful: 1 of 6 trials ran with uncommitted changes in the code." in notes


def test_rows_that_are_one_trial_are_no_finding(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "same.yaml"
    study.write_text(
        "study: same\nrows:\n  a: {model.attention: {global: 1}}\n  b: {model.attention: {global: 2}}\n"
        "  c: {model.attention: {temporal: 1}}\n"
    )
    table = build_table(make_results(study))
    assert [n.text for n in table.notes if "'a' and 'b' are the same trials" in n.text and "Δ = 0" in n.text]
    assert not any("same trials" in note.text for note in build_table(make_results("head_ratio")).notes)


def test_unanswered_videos_are_marked(make_results: MakeResults) -> None:
    table = build_table(make_results("head_ratio", changes={("1:1", 0): {"unanswered": range(10)}}))
    assert table.rows[0].cells["top1"].marks == ("a",)
    assert "10 of 200 videos unanswered" in table.notes[0].text
    assert "190/200" in table.rows[0].cells["coverage"].text


def test_the_difference_is_that_of_the_columns_where_videos_are_unanswered(make_results: MakeResults) -> None:
    """Top-1 divides by the expected videos: so does Δ, also for videos that no trial answered."""
    gone = {(row, seed): {"unanswered": range(60)} for row in ("1:1", "2:1", "1:2") for seed in range(3)}
    gone["2:1", 1] = {"unanswered": range(90)}
    accuracies = {"1:1": 0.8, "2:1": 0.6, "1:2": 0.5}
    rows = json.loads(RENDERERS["json"]([build_table(make_results("head_ratio", accuracies, changes=gone, seeds=3))]))[
        "rows"
    ]
    baseline = rows[0]["metrics"]["top1"]
    for row in rows[1:]:
        found, top1 = row["delta"]["top1"], row["metrics"]["top1"]
        assert found["videos"] == 200
        assert found["mean"] == pytest.approx(top1["mean"] - baseline["mean"])
        expected = [mine - theirs for mine, theirs in zip(top1["values"], baseline["values"], strict=True)]
        assert list(found["per_seed"].values()) == pytest.approx(expected)


def mirrored(results: Results, uri: str, root: Path) -> None:
    """Log a study's trials as a sweep does."""
    trials = [
        TrackedTrial(t.key, row.name, t.seed, t.directory)
        for row in results.rows
        for t in row.planned
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
    blank = {
        row: [TrialRecord(t.row, t.seed, t.key, State.MISSING, identity=t.identity) for t in trials]
        for row, trials in results.collected.items()
    }
    plan = replace(results, collected=blank)
    found = read_runs(plan, uri, tmp_path / "cache")
    first, second = (json.loads(RENDERERS["json"]([build_table(r)])) for r in (results, found))
    assert first["rows"] == second["rows"]
    link = found.rows[0].planned[0].link
    assert link is not None and "/runs/" in link

    # Another machine, whose copy of the data differs, ran what is missing here.
    other = results.rows[2].planned[0]
    assert other.directory is not None
    foreign = tmp_path / "elsewhere" / "ffffffffffffffff"
    foreign.mkdir(parents=True)
    identity = json.loads(json.dumps(other.identity))
    identity["data"]["content"], identity["seed"] = "e" * 16, 2
    result = {**other.result, "key": foreign.name, "data_hash": "e" * 16}
    (foreign / "result.json").write_text(json.dumps(result))
    (foreign / "trial.json").write_text(json.dumps({"key": foreign.name, "identity": identity, "config": {}}))
    tracked = TrackedTrial(foreign.name, "1:2", 2, foreign)
    place = tmp_path / "elsewhere"
    assert Mirror(uri, [Sweep("head_ratio", "demo", [tracked], place / "s.json", place / "a", {})]).close()
    table = build_table(read_runs(plan, uri, tmp_path / "cache"))
    assert table.rows[2].state is State.PARTIAL
    assert any("not comparable, other data" in note.text for note in table.notes)


@pytest.mark.slow
def test_a_failed_trial_that_is_run_again_is_read_again(make_results: MakeResults, tmp_path: Path) -> None:
    """A retried trial keeps its run, so that what was cached of the failure must not be read for ever."""
    from mlflow import MlflowClient

    uri, cache = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "cache"
    study = tmp_path / "one.yaml"
    study.write_text("study: one\nrows:\n  a: {recipe.epochs: 2}\nseeds: 1\n")
    failed = {"state": "failed", "metrics": {}, "error": {"kind": "data", "message": "gone"}}
    results = make_results(study, seeds=1, changes={("a", 0): failed})
    mirrored(results, uri, tmp_path)
    trial = read_runs(results, uri, cache).rows[0].planned[0]
    assert (trial.state, trial.result["error"]["message"]) == (State.FAILED, "gone")
    assert trial.directory is not None

    client, run = MlflowClient(uri), trial.directory.name
    client.update_run(run, status="RUNNING")
    trial = read_runs(results, uri, cache).rows[0].planned[0]
    assert (trial.state, trial.metric("top1")) == (State.RUNNING, None)
    client.set_terminated(run, "KILLED")
    assert read_runs(results, uri, cache).rows[0].planned[0].state is State.MISSING

    (results.rows[0].planned[0].directory / "result.json").unlink()  # type: ignore[operator]
    mirrored(make_results(study, seeds=1), uri, tmp_path)
    trial = read_runs(results, uri, cache).rows[0].planned[0]
    assert trial.state is State.FINISHED
    assert trial.metric("top1") == pytest.approx(60, abs=10)
    assert trial.directory is not None and trial.directory.name == run


@pytest.mark.slow
def test_a_server_that_is_down(make_results: MakeResults, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        read_runs(make_results("head_ratio"), "http://127.0.0.1:9", tmp_path)
