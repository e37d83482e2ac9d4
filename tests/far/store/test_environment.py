"""What is recorded of the machine and the libraries beside every number."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
import torch

from far.store.environment import environment, processor
from far.store.paths import TrialPaths
from far.store.records import read_result, write_result


def test_a_trial_on_the_cpu_names_processor_and_packages_and_no_gpu() -> None:
    found = environment(torch.device("cpu"))
    assert found["device"] == processor()
    assert {name: found[name] for name in ("torch", "deepspeed", "optuna")} == {
        name: metadata.version(name) for name in ("torch", "deepspeed", "optuna")
    }
    assert [found[name] for name in ("cuda", "cudnn", "driver")] == [None] * 3


def test_a_trial_on_a_gpu_names_card_driver_and_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr("far.store.environment.driver", lambda: "580.159.04")
    found = environment(torch.device("cuda", 1))
    assert [found[name] for name in ("device", "cuda", "cudnn", "driver")] == ["card 1", "13.0", 91900, "580.159.04"]
    paths = TrialPaths(tmp_path / "k")
    write_result(paths, {"key": "k", "state": "finished", "metrics": {}, "env": found}, [])
    assert (read_result(paths) or {}).get("env") == found  # a record that is not read is trained again
