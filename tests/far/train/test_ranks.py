"""``farlab train`` under torchrun: two real processes on gloo, parameters sharded by ZeRO-3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from far.config import TrialConfig
from far.store.atomic import read_json, read_json_lines
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
        [*torchrun, "-m", "farlab", "train", "two.yaml"],
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
    assert result["clips"]["delivered"] == result["steps"] * settings["recipe"]["batch_size"] + 11 + 11  # of both
    assert pd.read_parquet(paths.predictions)["id"].is_unique
    assert load_trained(directory).epochs == 1
    assert done.stdout.count("epoch 1/1") == 1


STOPPED = """
import sys
from pathlib import Path

from far.config import TrialConfig
from far.distributed import Launched
from far.errors import TrialInterruptedError
from far.store.paths import TrialPaths
from far.train import timetable
from far.train.trial import TrialRun, run_trial

timetable.LOOK = 0.0  # after every step: they are over in no time
folder, data = map(Path, sys.argv[1:])
config = TrialConfig.model_validate_json((folder / "config.json").read_text())
world = Launched().join(1)

def start(name):
    (folder / name).mkdir(exist_ok=True)
    return TrialRun(config, {}, TrialPaths(folder / name), world, data_root=data)

run_trial(start("whole"))
run = start("stopped")
batches = run.stream.epoch

def watched(epoch, start_step=0):
    for index, batch in enumerate(batches(epoch, start_step)):
        if world.rank == 1 and (epoch, index) == (1, 5):  # one of them is enough
            run.interruption.request("its node goes")
        yield batch

run.stream.epoch = watched
try:
    run_trial(run)
except TrialInterruptedError as error:
    print(error)
run_trial(start("stopped"))
"""


def test_two_ranks_stop_together_and_go_on_bit_for_bit(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    settings = tiny_config.model_dump(mode="json")
    settings["recipe"]["zero_stage"] = 1
    settings["recipe"]["augment"] |= {"crop": True, "mixup": 0.8, "cutmix": 1.0, "repeats": 2}
    settings["run"] |= {"micro_batch": 2, "devices": 2}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "stopped.py").write_text(STOPPED)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(tmp_path / "stopped.py"), str(tmp_path), str(tiny_data)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("it goes on from epoch-0001-step-000003") == 2
    assert "asked to stop (its node goes)" in done.stdout and "asked to stop (another of its processes)" in done.stdout
    whole, stopped = (TrialPaths(tmp_path / name) for name in ("whole", "stopped"))
    assert whole.predictions.read_bytes() == stopped.predictions.read_bytes()
    clocks = {"time", "seconds", "train_seconds", "checkpoint_seconds", "system"}
    ours, theirs = (
        [{k: v for k, v in record.items() if k not in clocks} for record in read_json_lines(paths.metrics)]
        for paths in (whole, stopped)
    )
    assert ours == theirs
