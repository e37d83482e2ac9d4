"""What would fail every trial on a data set is said before anything trains; a data set that is not here is no error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab
from far.data.sources.manifest import Video, make_manifest, write_manifest

STUDY = """
study: small
rows: {a: {}, b: {model.interaction: none}}
base: {data.source: mine, data.classes: 2, recipe.batch_size: 4}
"""
GOOD = {"train": (8, 0), "val": (4, 0)}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(STUDY)
    return tmp_path


def write(workspace: Path, splits: dict[str, tuple[int, int]], frames: int = 20) -> None:
    """Write the manifest of a data set: by split, its videos and how many of them have no label."""
    videos = [
        Video(f"{split}{i}", split, f"{i}.mp4", -1 if i < unlabelled else i % 2, frames, 12.0, 48, 32, "0")
        for split, (count, unlabelled) in splits.items()
        for i in range(count)
    ]
    folder = workspace / "data/mine"
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(make_manifest(videos, ["nod", "wave"], media_root=folder, source="csv", directory=folder))


COMMANDS = [
    ["plan", "small.yaml"],
    ["sweep", "small.yaml", "-n"],
    ["train", "csv", "-n", "data.source=mine", "data.classes=2", "recipe.batch_size=4"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("splits", "frames", "message"),
    [
        ({**GOOD, "val": (0, 0)}, 20, "it has no validation videos"),
        ({**GOOD, "train": (0, 0)}, 20, "it has no training videos"),
        ({**GOOD, "train": (8, 3)}, 20, "3 of its 8 training videos without a label: train0, train1, train2"),
        ({**GOOD, "val": (4, 4)}, 20, "4 of its 4 validation videos without a label: val0, val1, val2, and 1 more"),
        ({**GOOD, "train": (3, 0)}, 20, "a batch of 4 (recipe.batch_size) is larger than its 3 training videos"),
        (GOOD, 0, "none of its 8 training videos can be opened"),
    ],
)
def test_what_will_fail_is_said(
    workspace: Path,
    command: list[str],
    splits: dict[str, tuple[int, int]],
    frames: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(workspace, splits, frames)
    assert farlab.run(command) == 2
    shown = capsys.readouterr()
    assert f"problem: the data set 'mine' cannot be trained on: {message}" in shown.err
    assert "the data are not here" not in shown.out


@pytest.mark.parametrize("command", [["sweep", "small.yaml"], [part for part in COMMANDS[-1] if part != "-n"]])
def test_nothing_is_begun_that_will_fail(
    workspace: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(workspace, {"train": (3, 0), "val": (0, 0)})
    assert farlab.run(command) == 2
    shown = capsys.readouterr().err
    assert "it has no validation videos" in shown
    assert "a batch of 4 (recipe.batch_size) is larger than its 3 training videos" in shown
    assert not (workspace / "runs/trials").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_data_that_will_do_or_are_not_here_are_no_error(
    workspace: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert farlab.run(command) == 0
    assert "cannot be trained on" not in capsys.readouterr().err
    write(workspace, GOOD)
    assert farlab.run(command) == 0
    assert "problem" not in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_damaged_manifest_and_another_number_of_classes_are_errors(
    workspace: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(workspace, GOOD)
    others = [part for part in command if "classes" not in part]
    assert farlab.run([*others, "data.classes=3"]) == 2
    assert "has 2 classes, not 3" in capsys.readouterr().err
    (workspace / "data/mine/manifest.parquet").write_bytes(b"PAR1")
    assert farlab.run(command) == 2
    assert "is not a data set manifest" in capsys.readouterr().err


def test_the_demo_set_need_not_be_generated_to_know(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["train", "demo", "-n", "data.demo.train_clips=20", "recipe.batch_size=32"]) == 2
    assert "a batch of 32 (recipe.batch_size) is larger than its 20 training videos" in capsys.readouterr().err
    assert not (workspace / "data").exists()


def test_a_plan_for_machines_says_so_too(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(workspace, {**GOOD, "train": (3, 0)})
    assert farlab.run(["plan", "small.yaml", "--json", "--device", "a5000"]) == 2
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["unusable"]) == 1
    assert plan["problems"] == []


def test_a_search_alone_is_looked_at_too(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = {
        "objectives": [{"metric": "top1", "direction": "maximize"}],
        "trials": 2,
        "space": {"recipe.lr": {"low": 1e-5, "high": 1e-3, "log": True}},
    }
    base = {"data.source": "mine", "data.classes": 2, "recipe.batch_size": 4}
    (workspace / "s.yaml").write_text(json.dumps({"study": "s", "base": base, "search": search}))
    write(workspace, {**GOOD, "val": (0, 0)})
    assert farlab.run(["plan", "s.yaml"]) == 2
    assert "it has no validation videos" in capsys.readouterr().err
