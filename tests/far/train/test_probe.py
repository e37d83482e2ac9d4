"""The probe runs the real thing: a few DeepSpeed steps and views, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from far.config import TrialConfig

CONFIG = {
    "model": {"backbone": "tiny", "depth": 2, "clip": [8, 32, 32]},
    "data": {"demo": {"train_clips": 40, "val_clips": 20, "size": 32}},
    "recipe": {"epochs": 3, "batch_size": 8, "warmup_epochs": 1, "precision": "fp32"},
}


@pytest.mark.slow
def test_a_probe_measures_and_leaves_nothing(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"config": TrialConfig.model_validate(CONFIG).model_dump(), "data_root": str(tmp_path)}))
    command = [sys.executable, "-m", "far.train.probe", str(spec)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["steps"] == 3 * 5
    assert measured["views"] == 20 * (3 + 1)
    assert measured["step_seconds"] > measured["view_seconds"] > 0
    assert measured["memory"] > 2**27
    trained = measured["step_seconds"] * measured["steps"]
    assert measured["seconds"] == pytest.approx(trained + measured["view_seconds"] * measured["views"])
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"spec.json", "demo"}
