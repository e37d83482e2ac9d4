"""From a sweep that really trains to tables, figures and explanations."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import farlab
from far.data.sources.demo import MOTIONS

SMALL = [
    "recipe.epochs=1",
    "model.depth=1",
    "data.demo.train_clips=20",
    "data.demo.val_clips=20",
    "recipe.batch_size=10",
    "recipe.warmup_epochs=0",
]
STUDY = """study: two
title: two rows
rows:
  global: {model.attention: {global: 1}}
  mixed: {model.attention: {global: 1, sparse-dense: 1}}
seeds: 1
"""


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_trained_rows_are_reported_and_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(STUDY)
    assert farlab.run(["sweep", "two.yaml", *SMALL, "--executor", "local"]) == 0
    capsys.readouterr()

    assert farlab.run(["report", "--study", "two.yaml", *SMALL, "--format", "json", "--strict"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in data["rows"]] == ["finished", "finished"]
    assert data["rows"][0]["flops"] > data["rows"][1]["flops"] > 0  # counted on the models that ran
    assert data["rows"][1]["delta"]["top1"]["videos"] == 20
    difference = data["rows"][1]["metrics"]["top1"]["mean"] - data["rows"][0]["metrics"]["top1"]["mean"]
    assert data["rows"][1]["delta"]["top1"]["mean"] == pytest.approx(difference)  # our merge is the trial's own

    assert farlab.run(["report", "--study", "two.yaml"]) == 0  # the overrides forgotten
    assert "recipe.epochs = 1 instead of" in " ".join(capsys.readouterr().out.split())  # it is wrapped

    assert farlab.run(["figure", "order", "--study", "two.yaml", *SMALL, "-o", "order.png"]) == 0
    kept = [json.loads(path.read_text()) for path in Path("runs/trials").glob("*/order.json")]
    assert len(kept) == 2
    assert all(set(each["top1"]) >= {"natural", "reversed", "shuffled"} for each in kept)
    naturals = sorted(each["top1"]["natural"] for each in kept)
    assert naturals == pytest.approx(sorted(row["metrics"]["top1"]["mean"] for row in data["rows"]))

    video = str(next(Path("data").glob("demo-*/val/*.mp4")))
    settings = [part for text in SMALL for part in ("--set", text)]
    explain = ["explain", video, "--study", "two.yaml", *settings]
    assert farlab.run([*explain, "--rows", "global,mixed", "--frames", "4", "-o", "e.pdf"]) == 0
    assert Path("e.pdf").read_bytes().startswith(b"%PDF")
    shown = " ".join(capsys.readouterr().out.split())
    truth = re.search(r": ([\w-]+) \(the true class\); P: global 0\.\d\d, mixed 0\.\d\d", shown)
    assert truth and truth[1] in MOTIONS
    assert farlab.run([*explain, "--class", "Turn Clockwise", "-o", "e.png"]) == 0
    assert "turn-clockwise (asked for)" in capsys.readouterr().out
    assert farlab.run([*explain, "--class", "99"]) == 2
    assert farlab.run([*explain, "--class", "turn-clockwize"]) == 2
    assert "Did you mean 'turn-clockwise'?" in " ".join(capsys.readouterr().err.split())
    assert farlab.run([*explain, "--rows", "nothing"]) == 2

    assert farlab.run(["report", "--study", "two.yaml", *SMALL, "--format", "html", "-o", "page/"]) == 0
    page = Path("page/index.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 4  # the order of frames has been measured, so it is there
