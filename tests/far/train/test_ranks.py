"""``farlab train`` under torchrun: two real processes on gloo, parameters sharded by ZeRO-3."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from far.config import TrialConfig
from far.store.atomic import read_json
from far.store.paths import TrialPaths
from far.trained.network import load_trained

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def test_two_ranks_train_and_evaluate(tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path) -> None:
    # Under ZeRO-3 a forward pass is a collective: a rank with fewer validation videos must keep the other company.
    settings = tiny_config.model_dump(mode="json", exclude={"seed"})
    settings["recipe"] |= {"zero_stage": 3, "epochs": 1}
    settings["run"] |= {"micro_batch": 1, "devices": 2}
    settings["data"]["demo"]["val_clips"] = 11
    (tmp_path / "farlab.toml").write_text(f'data_root = "{tiny_data}"\n')
    YAML().dump({"profile": "two", "settings": settings}, tmp_path / "two.yaml")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "farlab.py"), "train", "two.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = (tmp_path / "runs" / "trials").iterdir()
    paths = TrialPaths(directory)
    result = read_json(paths.result)
    assert (result["state"], result["evaluated"], result["execution"]["world_size"]) == ("finished", 11, 2)
    assert pd.read_parquet(paths.predictions)["id"].is_unique
    assert load_trained(directory).epochs == 1
    assert done.stdout.count("epoch 1/1") == 1
