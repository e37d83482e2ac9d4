"""One trial looked at, and two set against each other, by the names that a person has for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab
from far.store.paths import TrialPaths
from orchestrator.cli.trials import find_trial
from orchestrator.store.store import Store

STUDY = """
study: pairs
rows: {"a": {}, "b/c": {recipe.lr: 0.002}, "d": {recipe.epochs: 7}}
seeds: 2
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_results) -> Store:  # type: ignore[no-untyped-def]
    """A workspace with a finished study of three rows, two seeds each; one trial of it has not run."""
    (tmp_path / "pairs.yaml").write_text(STUDY)
    changes = {("b/c", 1): {"env": {"python": "3.11.7", "torch": "2.14.0", "device": "cpu"}, "data_hash": "e" * 64}}
    make_results(tmp_path / "pairs.yaml", {"a": 0.6, "b/c": 0.8}, skip={("d", 1)}, changes=changes)
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "runs")


def said(capsys: pytest.CaptureFixture[str], *call: str, code: int = 0) -> str:
    capsys.readouterr()
    assert farlab.run(list(call)) == code
    output = capsys.readouterr()
    return output.out if code == 0 else output.err


def shown(capsys: pytest.CaptureFixture[str], *call: str) -> dict:  # type: ignore[type-arg]
    return json.loads(said(capsys, *call, "--json"))


def test_a_trial_is_found_by_every_name_that_it_has(workspace: Store) -> None:
    key = find_trial("a/0", workspace).key
    folder = workspace.paths(key).directory
    for text in (key, key[:6], "pairs/a/0", str(folder), str(folder / "result.json"), "A/0"):
        assert find_trial(text, workspace) == TrialPaths(folder), text
    assert find_trial("b/c/1", workspace).key != key, "a row's name may hold the separator"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("2 trials", "pairs/a/0", "pairs/a/1")),
        ("a/2", ("no trial starts with 'a/2'", "a/1")),
        ("nonsense", ("no trial starts with 'nonsense'",)),
    ],
)
def test_a_word_that_means_no_trial_or_several_is_told_what_would_be_right(
    workspace: Store, capsys: pytest.CaptureFixture[str], text: str, parts: tuple[str, ...]
) -> None:
    for command in ("show", "logs", "evaluate"):
        error = said(capsys, command, text, code=2)
        assert all(part in error for part in parts), error


def test_show_tells_rows_settings_numbers_files_and_commands(
    workspace: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shown(capsys, "show", "b/c/0")
    assert [(cell["study"], cell["row"], cell["seed"]) for cell in found["cells"]] == [("pairs", "b/c", 0)]
    assert found["state"] == "finished"
    assert found["settings"]["recipe.lr"] == 0.002
    assert found["varied"] == ["recipe.epochs", "recipe.lr"]
    assert [each["epoch"] for each in found["epochs"]] == [0, 1, 2]
    assert found["bytes"]["predictions.parquet"] > 0
    text = said(capsys, "show", "b/c/0")
    assert "  * recipe.lr = 0.002" in text
    assert f"top-1 {found['result']['metrics']['top1']:.2f} %" in text


def test_show_of_a_trial_that_has_not_run_says_so(workspace: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "show", "d/1")["state"] == "missing"
    text = said(capsys, "show", "d/1")
    assert "missing" in text
    assert "commands: none" in text


def test_diff_of_trials_names_settings_environment_data_numbers_and_videos(
    workspace: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shown(capsys, "diff", "a/1", "b/c/1")
    assert [(each["key"], each["second"]) for each in found["settings"]] == [("recipe.lr", 0.002)]
    assert [(each["key"], each["first"], each["second"]) for each in found["environment"]] == [
        ("torch", "2.13.0", "2.14.0")
    ]
    top1 = {each["key"]: each["second"] - each["first"] for each in found["metrics"]}["top1"]
    answers = found["answers"]
    assert (answers["second"] - answers["first"]) / 2 == pytest.approx(top1), "200 videos: two are one point"
    assert len(answers["only_second"]) == answers["second"]
    assert answers["both"] + answers["first"] + answers["second"] + answers["neither"] == 200


def test_diff_counts_videos_without_their_names(workspace: Store, capsys: pytest.CaptureFixture[str]) -> None:
    whole = shown(capsys, "diff", "a/0", "b/c/0")["answers"]
    find_trial("a/0", workspace).predictions.unlink()
    without = shown(capsys, "diff", "a/0", "b/c/0")["answers"]
    assert {**without, "only_first": whole["only_first"], "only_second": whole["only_second"]} == whole


def test_diff_of_the_seeds_of_a_row_is_the_seed(workspace: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys, "diff", "a/0", "a/1")
    assert [each["key"] for each in found["settings"]] == ["seed"]
    assert "the same trial" in said(capsys, "diff", "a/0", "pairs/a/0")


def test_diff_of_a_submission_and_its_file(
    workspace: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "now.yaml").write_text(STUDY.replace("0.002", "0.003").replace('"d"', '"e"') + "equal_within: 2\n")
    found = shown(capsys, "diff", "pairs", "now.yaml")
    assert (found["added"], found["removed"]) == (["e"], ["d"])
    assert [each["key"] for each in found["about"]] == ["equal_within"]
    changed = {row["row"]: row["settings"] for row in found["rows"]}
    assert [each["key"] for each in changed["b/c"]] == ["recipe.lr"]
    assert changed["a"] == []


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (("pairs",), "was submitted once"),
        (("pairs", "a/0"), "name two of a kind"),
        (("a/0", "pairs"), "name two of a kind"),
        (("a/0",), "name the one to compare it with"),
        (("pairs", "pairs", "--videos"), "--videos: has no effect"),
        (("pairs", "missing.yaml"), "missing.yaml"),
    ],
)
def test_diff_of_what_cannot_be_compared_is_refused(
    workspace: Store, capsys: pytest.CaptureFixture[str], call: tuple[str, ...], part: str
) -> None:
    assert part in said(capsys, "diff", *call, code=2)


def test_diff_of_two_submissions_of_a_study(
    workspace: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], make_results
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "pairs.yaml").write_text(STUDY.replace("seeds: 2", "seeds: 3"))
    make_results(tmp_path / "pairs.yaml", seeds=3)
    found = shown(capsys, "diff", "pairs")
    assert {tuple(row["seeds"]) for row in found["rows"]} == {(2,)}
    assert {tuple(row["shared"]) for row in found["rows"]} == {(0, 1)}


def test_a_record_that_cannot_be_read_is_said_and_its_submission_is_shown(
    workspace: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    key = shown(capsys, "show", "b/c/0")["key"]
    paths = workspace.paths(key)
    paths.trial.write_text("{")
    paths.result.unlink()
    assert farlab.run(["show", key]) == 0
    output = capsys.readouterr()
    assert f"problem: {paths.trial} cannot be read" in output.err
    assert "* recipe.lr = 0.002" in output.out
    assert "commands: none" in output.out
    found = shown(capsys, "diff", "a/0", key)
    assert [each["key"] for each in found["settings"]] == ["recipe.lr"]
    assert found["answers"] is None
    assert str(paths.trial) in " ".join(found["problems"])


def test_a_trial_that_was_never_started_differs_by_what_its_study_asks_for(
    workspace: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [each["key"] for each in shown(capsys, "diff", "a/1", "d/1")["settings"]] == ["recipe.epochs"]
