"""``farlab plan``, ``validate`` and ``study schema`` as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import farlab

STUDY = """
study: small
rows: {a: {}, b: {model.interaction: none}, c: {model.interaction: none, model.drop_path: 0.0}}
base:
  data.demo: {train_clips: 20, val_clips: 20, size: 32}
  model.clip: [16, 32, 32]
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(STUDY)
    return tmp_path


def test_plan_lists_trials_flags_equal_rows_and_prices(capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["plan", "small.yaml", "--device", "a100-80g", "--budget", "2trials", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(t["row"], t["seed"], t["state"]) for t in plan["trials"][:2]] == [("a", 0, "missing"), ("a", 1, "missing")]
    assert plan["distinct"] == 4
    assert plan["duplicates"] == [{"study": "small", "rows": ["b", "c"]}]
    assert plan["price"]["device"] == "a100-80g"
    assert plan["price"]["estimate"] is True
    assert set(plan["price"]["trials"]) == set(plan["to_run"])
    first_seed = [t["id"] for t in plan["trials"] if t["seed"] == 0]
    assert plan["bought"] == list(dict.fromkeys(first_seed))

    assert farlab.run(["plan", "small.yaml"]) == 0
    shown = capsys.readouterr()
    assert "6 cells, 4 distinct trials: 0 done, 4 to run" in shown.out
    assert "'b' and 'c' resolve to the same trial" in shown.err


def test_a_scaled_warm_up_is_said_by_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    study = ["head_ratio", "--profile", "ssv2-small-mvd"]
    for words in (["validate", *study], ["plan", *study], ["sweep", "-n", *study], ["train", "-n", "ssv2-small-mvd"]):
        assert farlab.run([*words, "recipe.epochs=3"]) == 0
        said = capsys.readouterr()
        assert "recipe.warmup_epochs = 0.375: 5 of 40 epochs" in " ".join((said.out + said.err).split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe.epochs=2", "recipe.warmup_epochs=5"], "recipe.warmup_epochs: 5.0 with recipe.epochs = 2"),
        (["recipe.augment.mixup=0.8", "recipe.batch_size=1"], "recipe.batch_size: 1 with recipe.augment.mixup = 0.8"),
        (["data.stride=2"], "data.stride: has no effect: data.sampling is segments-mvd"),
        (["recipe.lr=1e400"], "recipe.lr: must be a finite number"),
        (["seed=3"], "seed: the seed is an axis of its own"),
    ],
)
def test_senseless_settings_are_refused_by_every_command(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["validate", "head_ratio"], ["plan", "head_ratio"], ["sweep", "head_ratio"], ["train", "demo"]):
        assert farlab.run([*command, *words]) == 2
        assert f"command line: {said}" in capsys.readouterr().err


def test_a_plan_that_ends_after_any_calendar_is_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["plan", "small.yaml", "recipe.epochs=1000000000", "recipe.augment.repeats=1000000000"]) == 0
    assert "beyond any calendar" in capsys.readouterr().out


def test_plan_without_the_data_set_shows_and_prices_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["plan", "head_ratio", "--profile", "ssv2-small-mvd", "--device", "a5000"]) == 0
    shown = capsys.readouterr()
    assert "about" in shown.out
    assert "GPU-hours" in shown.out
    assert "problem: data.source" in shown.err


def test_validate_needs_no_data(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["validate", "small.yaml", "head_ratio"]) == 0
    shown = capsys.readouterr()
    assert "3 rows x 2 seeds, profile demo: ok" in shown.out
    assert "'b' and 'c' resolve to the same trial" in shown.err
    assert not (workspace / "data").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan"], "STUDY"),
        (["plan", "recipe.epochs=3"], "no study is named"),
        (["plan", "nothing"], "unknown study 'nothing'"),
        (["plan", "gone.yaml"], "'small.yaml'"),
        (["plan", "small.yaml", "--seeds", "x"], "neither a number"),
        (["plan", "small.yaml", "--seeds", "0"], "at least one"),
        (["plan", "small.yaml", "--budget", "40"], "is not a budget"),
        (["plan", "small.yaml", "--device", "h10"], "'h100'"),
        (["validate", "small.yaml", "model.heads=4", "model.attention={global: 2, sparse-dense: 1}"], "3:1"),
        (["validate", "."], "small"),
    ],
)
def test_wrong_words_exit_with_2_and_say_why(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    if words[-1] == ".":  # two studies of one name in a folder
        (workspace / "twin.yaml").write_text(STUDY)
    assert farlab.run(words) == 2
    assert said in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["study", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "FARLab study"


def test_a_wrong_study_is_refused_without_importing_anything_heavy(workspace: Path) -> None:
    (workspace / "wrong.yaml").write_text("study: s\nrows: {a: {model.widht: 3}}")
    code = (
        "import sys, farlab; code = farlab.run(['sweep', 'wrong.yaml']); "
        "heavy = {'torch', 'ray', 'mlflow', 'deepspeed', 'pandas', 'optuna'} & set(sys.modules); "
        "print(sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert "wrong.yaml:2: model.widht" in done.stderr
