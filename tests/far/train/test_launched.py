"""What a launcher says in the environment, and what it cannot say."""

from __future__ import annotations

import pytest

from far.distributed import Launched
from far.errors import ConfigError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_alone_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Launched().rank, Launched().size) == (0, 1)
    for name in NAMES:
        monkeypatch.setenv(name, "")
    assert (Launched().rank, Launched().size) == (0, 1)


def test_as_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(NAMES, ("3", "4", "1", "node7", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    made = Launched()
    assert (made.rank, made.size, made.local_rank, made.host, made.port) == (3, 4, 1, "node7", 29500)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WORLD_SIZE": "2"}, "no MASTER_ADDR says where the others are: use torchrun"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "x"}, "no MASTER_PORT"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "99999"}, "no MASTER_PORT"),
        ({"WORLD_SIZE": "x"}, "environment: WORLD_SIZE: 'x' is no number from 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE: '0' is no number from 1"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE"),
        ({"RANK": "1"}, "RANK: rank 1 of 1 processes cannot be"),
    ],
)
def test_what_cannot_be(environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        Launched()
