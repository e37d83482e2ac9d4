"""Trials whose videos an earlier version misread are named, and never averaged with new ones unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

import farlab
from far.store.attempts import saw_indexed_frames

STUDY = """\
study: own
rows:
  A: {model.interaction: none}
  B: {model.interaction: none, model.classifier: global-mean}
baseline: A
seeds: 1
base:
  data: {source: mine, classes: 2, views: {clips: 1, crops: 1}}
  model: {backbone: tiny, depth: 1, clip: [8, 32, 32], tubelet: [2, 16, 16]}
  recipe: {epochs: 1, warmup_epochs: 0, batch_size: 4}
"""


def write_avi(path: Path, seed: int) -> None:
    """Write MPEG-4 with B-frames into AVI, in which decord's seeking gives other frames."""
    frames = np.random.default_rng(seed).integers(0, 255, (48, 32, 48, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12, options={"bf": "2", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one finished seed of two rows, on files that earlier versions misread."""
    folder = tmp_path_factory.mktemp("lab")
    for split, count in (("train", 2), ("val", 2)):
        for label in ("nod", "wave"):
            for number in range(count):
                write_avi(folder / "in" / split / label / f"{number}.avi", number)
    (folder / "own.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert farlab.run(["data", "prepare", "folder", "in", "--name", "mine"]) == 0
        assert farlab.run(["sweep", "own.yaml", "--executor", "local"]) == 0
    return folder


@pytest.fixture
def lab(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be changed."""
    folder = tmp_path / "lab"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


def forget(lab: Path) -> list[str]:
    """Make its results those of a version before the frame index; return their keys."""
    keys = []
    for path in sorted(lab.glob("runs/trials/*/result.json")):
        result, spec = json.loads(path.read_text()), json.loads((path.parent / "trial.json").read_text())
        for name in ("decoders", "version", "starts", "earlier_code", "indexed_frames", "sources"):
            result.pop(name, None)
        for name in ("version", "sources"):
            spec.pop(name, None)
        for attempt in spec["attempts"]:
            attempt.pop("frame_index", None)
            attempt.pop("source", None)
        (path.parent / "trial.json").write_text(json.dumps(spec, indent=1))
        path.write_text(json.dumps({**spec, **result}, indent=1))
        keys.append(path.parent.name)
    return keys


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    farlab.run(arguments)
    both = capsys.readouterr()
    return both.out + both.err


def test_nothing_is_said_of_trials_that_read_by_the_index(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["plan", "own.yaml"], ["status"], ["report", "own.yaml"]):
        assert "other frames" not in said(command, capsys)


def test_check_names_the_files(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["data", "check", "mine", "--clip", "8"], capsys)
    assert "misread by earlier versions, now read rightly: 8" in text
    assert "val/wave/1" in text
    report = json.loads(said(["data", "check", "mine", "--clip", "8", "--json"], capsys))
    assert len(report["misread_by_earlier_versions"]) == 8


def test_plan_status_and_report_name_the_trials(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = forget(lab)
    for command in (["plan", "own.yaml"], ["status"]):
        text = said(command, capsys)
        assert all(key in text for key in keys)
        assert "8 files of the data set 'mine'" in text
    assert json.loads(said(["status", "--json"], capsys))[0]["other_frames"] == keys
    text = said(["report", "own.yaml"], capsys)
    assert "other frames (8 files of the data set 'mine'" in " ".join(text.split())


def test_they_enter_no_mean_with_new_ones_until_somebody_accepts(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forget(lab)
    assert farlab.run(["sweep", "own.yaml", "--executor", "local", "--seeds", "2"]) == 0

    def seeds() -> dict[str, int]:
        rows = json.loads(said(["report", "own.yaml", "--seeds", "2", "-f", "json"], capsys))["rows"]
        return {row["row"]: row["metrics"]["top1"]["n"] for row in rows}

    assert seeds() == {"A": 1, "B": 1}
    assert "Not comparable: other frames" in said(["report", "own.yaml", "--seeds", "2"], capsys)
    text = said(["data", "accept", "mine"], capsys)
    assert "8 files of the data set 'mine'" in text
    assert seeds() == {"A": 2, "B": 2}
    assert "accepted by" in " ".join(said(["report", "own.yaml", "--seeds", "2"], capsys).split())


def test_a_report_knows_it_where_the_data_are_not(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forget(lab)
    assert farlab.run(["sweep", "own.yaml", "--executor", "local", "--seeds", "2"]) == 0
    shutil.rmtree(lab / "data/mine")
    assert "Not comparable: other frames (8 files" in said(["report", "own.yaml", "--seeds", "2"], capsys)


def test_there_is_nothing_to_accept_where_nothing_was_misread(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lab / "data/mine/frames.parquet").unlink()
    assert farlab.run(["data", "accept", "mine"]) == 2
    assert farlab.run(["data", "accept", "yours"]) == 2
    assert "no prepared data set 'yours'" in capsys.readouterr().err


def test_a_start_that_was_not_kept_is_one_of_an_earlier_version() -> None:
    first, second = {"epoch": 0, "frame_index": 2}, {"epoch": 1, "frame_index": 2}
    assert saw_indexed_frames([{"lost": "worker"}, first, second])
    assert not saw_indexed_frames([second])
    assert not saw_indexed_frames([{"epoch": 0}, second])
