"""The store: what counts as done, and that damage is noticed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.errors import ConfigError
from far.store.atomic import append_json_line, clear_abandoned, read_json, read_json_lines, scratch_path, write_json
from far.store.lock import FileLock, LockedError
from orchestrator.store.store import Store


def result(key: str, state: str = "finished") -> dict:
    return {"key": key, "state": state, "metrics": {"top1": 50.0}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize(
    ("state", "done"), [("finished", True), ("diverged", True), ("failed", False), ("partial", False)]
)
def test_states_of_ended_trials(store: Store, state: str, done: bool) -> None:
    write_json(store.paths("k").result, result("k", state))
    assert store.state("k") == state
    assert store.finished(["k", "other"]) == ({"k"} if done else set())


def test_a_started_trial_without_result_is_interrupted_or_running(store: Store) -> None:
    assert store.state("k") == "missing"
    store.write_trial("k", {"key": "k"})
    assert store.state("k") == "interrupted"
    with store.lock_trial("k"):
        assert store.state("k") == "running"
    assert store.state("k") == "interrupted"


@given(cut=st.integers(min_value=0, max_value=70))
def test_a_result_cut_anywhere_is_never_done(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    store = Store(tmp_path_factory.mktemp("cut"))
    path = store.paths("k").result
    write_json(path, result("k"))
    whole = path.read_bytes().rstrip()
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    assert store.state("k") == "corrupt"
    assert store.result("k") is None
    assert "result.json" in (store.damage("k") or "")
    assert store.finished() == set()


@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff\xfe", b'{"key": "other", "state": "finished"}'])
def test_a_result_of_another_kind_is_damage(store: Store, content: bytes) -> None:
    path = store.paths("k").result
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert store.state("k") == "corrupt"
    assert store.result("k") is None


def test_stray_files_among_the_trials_harm_nothing(store: Store) -> None:
    write_json(store.paths("k").result, result("k"))
    (store.trials / "notes.txt").write_text("mine")
    assert store.finished() == {"k"}


def test_find_by_prefix(store: Store) -> None:
    for key in ("abc1", "abd2"):
        store.write_trial(key, {})
    assert store.find("abc") == "abc1"
    with pytest.raises(ConfigError, match="2 trials start"):
        store.find("ab")
    with pytest.raises(ConfigError, match="no trial"):
        store.find("x")


def test_not_finite_numbers_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"loss": float("nan"), "of": [float("inf"), 1.5]})
    assert read_json(tmp_path / "a.json") == {"loss": None, "of": [None, 1.5]}


def test_a_line_cut_by_a_kill_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_json_line(path, {"epoch": 0})
    with path.open("ab") as stream:
        stream.write(b'{"epoch": 1, "lo')
    append_json_line(path, {"epoch": 1})
    assert read_json_lines(path) == [{"epoch": 0}, {"epoch": 1}]


def _hold(path: Path, ready: object) -> None:
    with FileLock(path, "it"):
        ready.set()  # type: ignore[attr-defined]
        signal.pause()


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "driver.lock"
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready))
    holder.start()
    try:
        assert ready.wait(20)
        with pytest.raises(LockedError, match=f"it is in use by process {holder.pid}"):
            FileLock(path, "it").acquire(timeout=0.1)
    finally:
        os.kill(holder.pid or 0, signal.SIGKILL)
        holder.join()
    with FileLock(path, "it"):
        pass


def test_what_a_dead_writer_left_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine = scratch_path(tmp_path / "mlflow.db")
    gone = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{dead.pid}."))
    folder = gone.with_name(gone.name.replace("mlflow.db", "demo-1.2"))
    elsewhere = tmp_path / f".mlflow.db.0123abcd.{dead.pid}.partial"
    old = tmp_path / f".trial.json.0123abcd.{dead.pid}.tmp"
    unrelated = tmp_path / ".frames-1"
    for path in (mine, gone, elsewhere, old, unrelated):
        path.touch()
    (folder / "train").mkdir(parents=True)
    os.utime(old, (0, 0))
    clear_abandoned(tmp_path, tmp_path / "missing")
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere, unrelated])


def test_a_damaged_identity_is_one_line(store: Store) -> None:
    made = store.identity()
    assert store.identity() == made
    (store.root / "store.id").write_bytes(b"\xf2\xd3")
    with pytest.raises(ConfigError, match=r"store\.id: is damaged"):
        store.identity()
