from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import farlab
from far.data.generate import write_video


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a small data set of class folders, one file of which is broken."""
    for split in ("train", "val"):
        for label in ("nod", "wave"):
            folder = tmp_path / "mine" / split / label
            folder.mkdir(parents=True)
            frames = np.random.default_rng(0).integers(0, 255, (20, 32, 48, 3), dtype=np.uint8)
            write_video(folder / "a.mp4", frames, 12)
    (tmp_path / "mine/val/nod/broken.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bring_your_own(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["data", "prepare", "folder", "mine"]) == 0
    said = capsys.readouterr().out
    assert "data.source=mine data.classes=2" in said
    assert "4 of them can be opened" in said

    assert farlab.run(["data", "check", "mine"]) == 3
    said = capsys.readouterr().out
    assert "undecodable: 1" in said
    assert "val/nod/broken" in said
    assert "val: 2 of 3 videos are good (66.67%)" in said

    assert farlab.run(["data", "check", "mine", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["findings"][0]["problem"] == "undecodable"

    assert farlab.run(["data", "stats", "mine", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)["splits"]["val"]
    assert (numbers["videos"], numbers["unreadable"]) == (3, 1)
    assert numbers["frames"] == {"min": 20.0, "median": 20.0, "max": 20.0}
    assert farlab.run(["data", "stats", "mine"]) == 0

    for split in ("train", "val"):
        assert farlab.run(["data", "sample", "mine", "-p", "csv", "-n", "2", "--split", split, "-o", "s.png"]) == 0
        assert Path("s.png").read_bytes().startswith(b"\x89PNG")


def test_a_video_with_several_files_is_told(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {"train": [{"id": "a", "template": "Nodding"}], "labels": {"Nodding": "0"}}
    for name, content in lists.items():
        (workspace / "mine" / f"{name}.json").write_text(json.dumps(content))
    assert farlab.run(["data", "prepare", "ssv2", "mine"]) == 0
    said = capsys.readouterr().out
    others = "train/wave/a.mp4, val/nod/a.mp4, val/wave/a.mp4"
    assert f"1 video with several files, e.g. train/nod/a.mp4 (used) and {others} (not)" in said


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "foldr", "mine"], 2, "Did you mean 'folder'"),
        (["prepare", "folder", "nowhere"], 3, "nowhere: no such folder"),
        (["prepare", "ssv2", "mine"], 3, "labels.json is in it"),
        (["prepare", "folder", "mine", "--name", "demo"], 2, "cannot be called 'demo'"),
        (["stats", "mein"], 2, "farlab data prepare"),
        (["check", "mine", "--clip", "0"], 2, "--clip"),
    ],
)
def test_mistakes_are_named(
    workspace: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert farlab.run(["data", *arguments]) == code
    assert message in capsys.readouterr().err
