"""The GPU that a process was given, and what it says where torch cannot use it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from far import gpu
from far.distributed import join_world
from far.errors import ConfigError

VERSION = "NVRM version: NVIDIA UNIX {}  570.86.15  Tue Jan 14 12:00:00 UTC 2025\nGCC version:  gcc 12.3.0\n"

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU of this machine")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a GPU, in whose /proc and /dev one can be put."""
    for name in ("dev", "proc"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(gpu, "_DEVICES", tmp_path / "dev")
    monkeypatch.setattr(gpu, "_DRIVER", tmp_path / "proc")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("visible", "is_given"),
    [("0", True), ("1,3", True), ("GPU-7f0c", True), ("", False), ("-1", False), ("NoDevFiles", False), (" ", False)],
)
def test_what_is_visible_is_given(visible: str, is_given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert (gpu.given_gpus() is not None) == is_given


@without_gpu
def test_a_machine_without_a_gpu_trains_on_the_cpu() -> None:
    assert gpu.usable() is False


@without_gpu
def test_a_gpu_of_the_machine_that_torch_cannot_use_is_an_error_and_not_the_cpu(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare_machine / "dev" / "nvidia0").touch()
    (bare_machine / "dev" / "nvidiactl").touch()
    (bare_machine / "proc" / "version").write_text(VERSION.format("x86_64 Kernel Module"))
    with pytest.raises(ConfigError, match=r"/dev/nvidia0.*built with.*CUDA.*NVIDIA driver 570\.86\.15.*gpus: 0"):
        join_world()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the user wants the CPU
    assert gpu.usable() is False


@without_gpu
def test_a_gpu_that_a_process_was_given_is_never_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(ConfigError, match=r"CUDA_VISIBLE_DEVICES=1.*torch 2\..*driver not found"):
        join_world()
    assert join_world(gpus=False).device.type == "cpu"


def test_a_gpu_that_the_wheel_has_no_kernels_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with …")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", fails)
    with pytest.raises(ConfigError, match=r"no kernel image is available for execution on the device \(torch"):
        gpu.usable()


@pytest.mark.parametrize("kind", ["x86_64 Kernel Module", "Open Kernel Module for x86_64"])
def test_the_drivers_version_is_read(kind: str, bare_machine: Path) -> None:
    assert gpu.driver() is None
    (bare_machine / "proc" / "version").write_text(VERSION.format(kind))
    assert gpu.driver() == "570.86.15"
