"""Records of trials: what is written is read, damage is named, versions are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from far.errors import ConfigError
from far.store.attempts import Attempt, sources_of
from far.store.paths import TrialPaths
from far.store.records import (
    damage,
    has_result,
    read_heartbeat,
    read_result,
    read_spec,
    write_heartbeat,
    write_result,
    write_spec,
)

OWN = {"version": "0.2", "git": "b" * 40, "dirty": False}
ATTEMPTS: list[Attempt] = [
    {"code": {"version": "0.2", "git": "a" * 40, "dirty": False}, "epoch": 0, "frame_index": 3, "source": "s1"},
    {"code": {"version": "0.2", "git": "b" * 40, "dirty": False}, "epoch": 2, "frame_index": 3, "source": "s2"},
]
FINISHED = {"state": "finished", "metrics": {"top1": 50, "loss": None}, "code": OWN, "data_hash": "d"}


@pytest.fixture
def paths(tmp_path: Path) -> TrialPaths:
    return TrialPaths(tmp_path / "k")


def test_a_result_says_what_a_table_needs_of_the_starts_and_repeats_nothing(paths: TrialPaths) -> None:
    write_spec(paths, {"key": "k", "identity": {"seed": 0}, "config": {"seed": 0}, "attempts": ATTEMPTS})
    assert not has_result(paths)
    write_result(paths, {"key": "k", **FINISHED}, ATTEMPTS)
    found = read_result(paths)
    assert found is not None
    assert found["starts"] == 2 and found["indexed_frames"] and found["sources"] == ["s1", "s2"]
    assert found["earlier_code"] == [ATTEMPTS[0]["code"]]
    assert not {"identity", "config", "profile", "attempts"} & json.loads(paths.result.read_text()).keys()
    assert read_spec(paths)["attempts"] == ATTEMPTS


def test_a_result_of_version_1_is_read_with_its_copy(paths: TrialPaths) -> None:
    paths.directory.mkdir()
    copied = {"identity": {"seed": 0}, "config": {"seed": 0}, "profile": "demo", "attempts": ATTEMPTS[:1]}
    paths.result.write_text(json.dumps({"key": "k", **FINISHED, **copied}))
    found = read_result(paths)
    assert found is not None and found["starts"] == 1
    assert read_spec(paths).get("identity") == {"seed": 0}  # where trial.json is lost
    write_spec(paths, {"key": "k", "config": {"seed": 1}})
    assert read_spec(paths)["config"] == {"seed": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": "other"}, "belongs to trial 'other'"),
        ({"state": "done"}, "unknown state 'done'"),
        ({"metrics": None}, "finished without metrics"),
        ({"metrics": {"top1": "high"}}, "has metrics that are no numbers"),
        ({"data_hash": {"a": 1}}, "has no proper data_hash (should be a valid string)"),
        ({"views": {"frames": 8}}, "has no proper views.clips"),
        ({"evaluated": "many"}, "has no proper evaluated"),
        ({"code": {"git": []}}, "has no proper code.git"),
        ({"earlier_code": 3}, "has no proper earlier_code"),
        ({"init": {"loaded": 3}}, "has no proper init.loaded"),
    ],
)
def test_damage_is_named(change: dict[str, Any], said: str, paths: TrialPaths) -> None:
    paths.directory.mkdir()
    paths.result.write_text(json.dumps({"key": "k", **FINISHED, **change}))
    assert read_result(paths) is None
    assert said in str(damage(paths))


def test_records_of_a_later_version_are_refused_rather_than_run_again(paths: TrialPaths) -> None:
    paths.directory.mkdir()
    for path, read in ((paths.result, read_result), (paths.trial, read_spec)):
        path.write_text(json.dumps({"key": "k", **FINISHED, "version": 99}))
        with pytest.raises(ConfigError, match="later version of FARLab") as caught:
            read(paths)  # type: ignore[operator]
        assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("starts", "behind"),
    [
        ([], None),
        ([(0, "a")], ["a"]),
        ([(0, "a"), (2, "b")], ["a", "b"]),
        ([(0, "a"), (None, "x"), (2, "a")], ["a"]),  # the second never came to train
        ([(0, "a"), (0, "b")], ["b"]),  # nothing of the first was kept
        ([(0, "a"), (3, "b"), (1, "c")], ["a", "c"]),  # the second's epochs were trained again
        ([(0, None), (2, "b")], None),  # begun by a version that did not say
        ([(0, None), (0, "b")], ["b"]),
        ([(1, "b")], None),  # its first start was not kept
    ],
)
def test_the_source_behind_the_weights(starts: list[tuple[int | None, str | None]], behind: list[str] | None) -> None:
    attempts: list[Attempt] = []
    for epoch, source in starts:
        attempt: Attempt = {} if epoch is None else {"epoch": epoch}
        if source is not None:
            attempt["source"] = source
        attempts.append(attempt)
    assert sources_of(attempts) == behind


def test_a_sign_of_life_that_is_none(paths: TrialPaths) -> None:
    paths.directory.mkdir()
    write_heartbeat(paths, phase="train", epoch=0, done=1, total=2, loss=float("nan"))
    assert (read_heartbeat(paths) or {})["loss"] is None
    assert read_heartbeat(paths)
    write_heartbeat(paths, phase="train", epoch=0, done=1, total=2, clips={"delivered": "all", "decoded": 0})
    assert read_heartbeat(paths) is None
    paths.progress.write_text('{"phase": "train"}')
    assert read_heartbeat(paths) is None
