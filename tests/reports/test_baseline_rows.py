"""Other authors' networks as rows of a study: really trained by the same recipe, reported and explained beside FAR."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab
from far.architecture.networks import NETWORKS

SMALL = [
    "recipe.epochs=1",
    "recipe.batch_size=10",
    "recipe.warmup_epochs=0",
    "recipe.layer_decay=0.8",
    "model.depth=1",
    "data.demo.train_clips=20",
    "data.demo.val_clips=20",
]


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_baselines_are_trained_reported_and_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    assert farlab.run(["sweep", "baselines", *SMALL, "--seeds", "1", "--executor", "local"]) == 0
    capsys.readouterr()
    assert farlab.run(["cost", "baselines", *SMALL, "--json"]) == 0
    counted = {row["row"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert farlab.run(["report", "--study", "baselines", *SMALL, "--seeds", "1", "-f", "json", "--strict"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["row"].lower() for row in rows] == list(NETWORKS)
    for row in rows:
        assert (row["flops"], row["params"]) == (counted[row["row"]]["flops"], counted[row["row"]]["params"])
        assert row["metrics"]["top1"]["n"] == 1
    losses = {json.loads(path.read_text())["train_loss"] for path in Path("runs/trials").glob("*/metrics.jsonl")}
    assert len(losses) == len(NETWORKS)

    video = str(next(Path("data").glob("demo-*/val/*.mp4")))
    settings = [part for text in SMALL for part in ("--set", text)]
    asked = ["explain", video, "--study", "baselines", *settings, "--seeds", "1", "--frames", "4", "-o", "e.png"]
    assert farlab.run([*asked, "--rows", ",".join(row["row"] for row in rows)]) == 0
    assert Path("e.png").read_bytes().startswith(b"\x89PNG")
