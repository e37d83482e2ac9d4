"""What a checkpoint that does not fit, or cannot be read, is taken for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from far.errors import ConfigError, DamagedError
from far.train import checkpoint


class Engine(SimpleNamespace):
    """Stands for an engine of ``world_size`` processes whose loader raises ``error``."""

    world_size = 1
    error: Exception = ValueError("not a pickle")

    def load_checkpoint(self, *args: Any, **options: Any) -> Any:
        raise self.error


@pytest.fixture
def written(tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoints" / "epoch-0003"
    directory.mkdir(parents=True)
    for rank in range(2):
        (directory / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").touch()
    return directory


def test_shards_of_another_number_of_processes_are_refused_and_kept(written: Path) -> None:
    with pytest.raises(ConfigError, match="written by 2 processes under ZeRO, this run has 1") as caught:
        checkpoint.restore(Engine(), written)
    assert caught.value.key == "run.devices"
    assert written.exists()


def test_a_file_system_that_is_away_is_no_damage(written: Path) -> None:
    with pytest.raises(OSError, match="stale"):
        checkpoint.restore(Engine(world_size=2, error=OSError("stale file handle")), written)
    assert written.exists()


def test_a_damaged_one_is_set_aside(written: Path) -> None:
    (written / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").unlink()  # not whole: that is damage
    with pytest.raises(DamagedError, match="not a pickle"):
        checkpoint.restore(Engine(), written)
    assert not written.exists()
    assert written.with_name("epoch-0003.damaged").exists()
