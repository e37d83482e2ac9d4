"""A trial's peak memory is its own, not that of the process that hosted others before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from far.train import memory

CPU = torch.device("cpu")


def test_a_large_trial_before_does_not_count() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system cannot reset a process's peak")
    held = torch.ones(100 * 2**20 // 4)
    large = memory.peak_memory(CPU)
    del held
    memory.reset_peak(CPU)
    assert memory.peak_memory(CPU) < large - 80 * 2**20
    held = torch.ones(50 * 2**20 // 4)
    again = memory.peak_memory(CPU)
    del held
    assert memory.peak_memory(CPU) == pytest.approx(again, abs=2**21)  # a peak stays until it is reset


def test_where_the_peak_cannot_be_read_it_is_the_processs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PROC", tmp_path / "none")
    memory.reset_peak(CPU)
    assert memory.peak_memory(CPU) > 2**20
