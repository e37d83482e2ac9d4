"""What a report does not read, so that it is quick on a data set of 200,000 videos: checked on a small one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import farlab
from benchmarks.report_speed import CLASSES, fill
from far.data.sources.manifest import Manifest, Video, make_manifest, write_manifest
from orchestrator.store.store import Store

VIDEOS = 40


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A prepared data set in a workspace that has finished a study on it."""
    place = tmp_path / "data" / "full"
    place.mkdir(parents=True)
    videos = [
        Video(f"val/{n:06d}", "val", f"{n}.webm", n % CLASSES, 40, 12.0, 9, 9, f"{n:064x}") for n in range(VIDEOS)
    ]
    labels = [f"Doing {n}" for n in range(CLASSES)]
    made = make_manifest(videos, labels, media_root=place, source="full", directory=place)
    write_manifest(made)
    fill(Store(tmp_path / "runs"), 2, VIDEOS, made.content_hash, ["data.source=full"])
    monkeypatch.chdir(tmp_path)
    return made


def refuse(*arguments: Any, **options: Any) -> Any:
    raise AssertionError("this is not read")


ASKED = ["--table", "2", "--seeds", "2", "data.source=full"]


def test_neither_videos_nor_logits(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("far.data.sources.open.read_manifest", refuse)
    monkeypatch.setattr("reports.statistics.outcomes.read_scores", refuse)
    monkeypatch.setattr("reports.analysis.correctness.read_scores", refuse)
    assert farlab.run(["report", *ASKED, "-f", "json"]) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"finished"}
    assert farlab.run(["figure", "classes", *ASKED, "-o", "classes.svg"]) == 0
    assert "Doing 3" in (tmp_path / "classes.svg").read_text()


def test_another_number_of_classes_is_told(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["report", *ASKED, f"data.classes={CLASSES + 1}"]) == 2
    assert f"has {CLASSES} classes, not {CLASSES + 1}" in capsys.readouterr().err
