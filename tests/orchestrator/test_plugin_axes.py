"""Entries of a plug-in on the axes of training, each in a trial of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab

IDEAS = Path(__file__).parent / "plugins" / "remaining_axes.py"
STUDY = f"""
study: axes
plugins: [{IDEAS}]
base:
  model: {{depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8]}}
  data: {{classes: 10, demo: {{train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}}}
  recipe: {{epochs: 1, batch_size: 40, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}}
rows:
  sampler: {{data.sampling: middle}}
  augmentation: {{recipe.augment.also: [darker]}}
  optimiser and schedule: {{recipe.optimizer: sgd, recipe.schedule: linear}}
  embedding: {{model.position_embedding: zeros}}
  network: {{model.network: pool}}
seeds: 1
"""


@pytest.mark.slow
def test_a_plugin_has_entries_on_every_axis_of_training(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("farlab.toml").write_text(f"data_root = '{tiny_data}'\nmlflow_report = false\n")
    Path("axes.yaml").write_text(STUDY)
    assert farlab.run(["sweep", "axes.yaml", "--executor", "local"]) == 0
    capsys.readouterr()
    assert farlab.run(["report", "axes.yaml", "-f", "json"]) == 0
    rows = {row["row"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert len({row["params"] for row in rows.values()}) == 2  # the network has its own
    for name, row in rows.items():
        assert len(row["metrics"]["top1"]["values"]) == 1, name
    for path in Path("runs/trials").glob("*/trial.json"):
        assert json.loads(path.read_text())["plugins"], path


def test_a_network_needs_a_section_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ideas.py").write_text(IDEAS.read_text().replace("section = PoolConfig", "section = ModelConfig"))
    Path("axes.yaml").write_text(STUDY.replace(str(IDEAS), "ideas.py"))
    assert farlab.run(["validate", "axes.yaml"]) == 2
    assert "network 'pool' has no section: a class derived from" in capsys.readouterr().err
