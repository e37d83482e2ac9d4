"""The journal of a search: torn lines are mended, and a full disk tears none."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from far.config import TrialConfig
from far.errors import DataError, StorageFullError
from orchestrator.search.journal import START, Journal, mend
from orchestrator.search.storage import find_search, open_search
from orchestrator.store.store import Store
from orchestrator.study import Study, load_study

SPACE = "study: s\nseeds: 1\nsearch:\n  space:\n    recipe.lr: {low: 0.1, high: 1.0}\n"


@pytest.fixture
def searched(tmp_path: Path) -> tuple[Study, Store]:
    (tmp_path / "s.yaml").write_text(SPACE)
    return load_study(tmp_path / "s.yaml"), Store(tmp_path / "runs")


def ask_and_tell(search: optuna.Study) -> None:
    trial = search.ask()
    search.tell(trial, trial.suggest_float("recipe.lr", 0.1, 1.0))


def values(search: optuna.Study | None) -> list[Any]:
    assert search is not None
    return [trial.values for trial in search.get_trials()]


@pytest.mark.parametrize("cut", [1, 2, 25, 90])
def test_a_search_whose_last_line_was_cut_off_goes_on(
    cut: int, searched: tuple[Study, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    study, store = searched
    for _ in range(3):
        ask_and_tell(open_search(study, store))
    path = store.study("s").search
    whole = values(find_search(study, store))
    os.truncate(path, path.stat().st_size - cut)
    for _ in range(3):
        ask_and_tell(open_search(study, store))  # the second and third opening are the ones that failed
    assert values(find_search(study, store))[:2] == whole[:2]
    assert len(values(find_search(study, store))) == 6
    assert capsys.readouterr().err.count("was cut off") == (cut > 1)  # said once; a lost newline loses nothing
    assert path.read_bytes().endswith(b"\n")


def test_entries_appended_to_a_cut_off_line_by_an_earlier_version_count(searched: tuple[Study, Store]) -> None:
    study, store = searched
    for _ in range(2):
        ask_and_tell(open_search(study, store))
    path = store.study("s").search
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + b'{"op_code":4,"wor' + lines[-1] + b"\0" * 40 + lines[1] + lines[1][:20])
    expected = values(optuna.load_study(study_name=None, storage=_of(b"".join([*lines, lines[1]]), path.parent)))
    assert values(find_search(study, store)) == expected
    assert path.read_bytes() == b"".join([*lines, lines[1]])
    assert (path.parent / "search.journal.torn").exists()


def _of(data: bytes, directory: Path) -> optuna.storages.JournalStorage:
    (directory / "expected").write_bytes(data)
    return optuna.storages.JournalStorage(Journal(str(directory / "expected")))


@settings(max_examples=60)
@given(data=st.data())
def test_of_any_cut_journal_the_whole_lines_are_left(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [b'{"op_code":%d,"worker_id":"w","n":"%d"}\n' % (n % 3, n) for n in range(4)]
    text = b"".join(lines)
    cut = data.draw(st.integers(0, len(text)))
    path = tmp_path_factory.mktemp("cut") / "journal"
    path.write_bytes(text[:cut])
    mend(path)
    kept = path.read_bytes()
    number = text[:cut].count(b"\n") + (text[cut : cut + 1] == b"\n")
    assert kept == b"".join(lines[:number])
    mend(path)
    assert path.read_bytes() == kept


@pytest.mark.parametrize("text", [b"hello", b"hello\n", b'{"a": 1}\n', b"\xff\xfe\n" + START, b"<html>\n"])
def test_what_is_no_journal_is_left_alone(text: bytes, searched: tuple[Study, Store]) -> None:
    study, store = searched
    path = store.study("s").search
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    with pytest.raises(DataError, match="line 1 is no entry of a search"):
        open_search(study, store)
    assert path.read_bytes() == text


def test_to_look_at_a_search_writes_nothing(searched: tuple[Study, Store]) -> None:
    from orchestrator.search.analysis import results

    study, store = searched
    assert results(study, store).trials == ()
    assert not store.root.exists()
    open_search(study, store)
    before = store.study("s").search.read_bytes()
    assert results(study, store).trials == ()
    open_search(study, store)
    assert store.study("s").search.read_bytes() == before


@pytest.fixture
def small_disk(tmp_path: Path, mount: Callable[..., Path]) -> Path:
    place = tmp_path / "small"
    place.mkdir()
    return mount(place, "-t", "tmpfs", "-o", "size=64k", "none")


def test_a_full_disk_ends_a_search_cleanly_and_it_goes_on(searched: tuple[Study, Store], small_disk: Path) -> None:
    study, store = searched[0], Store(small_disk / "runs")
    search = open_search(study, store)
    with pytest.raises(StorageFullError, match=r"search.journal; free some and run the same command again"):
        for _ in range(10_000):
            ask_and_tell(search)
    path = store.study("s").search
    assert path.read_bytes().endswith(b"}\n")
    done = len(values(find_search(study, store)))
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    for _ in range(2):
        ask_and_tell(open_search(study, store))
    assert len(values(find_search(study, store))) == done + 2


def test_a_journal_without_room_stops_the_sweep(
    searched: tuple[Study, Store],
    tiny_config: TrialConfig,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from orchestrator.executors.base import StopRequest
    from orchestrator.search.queue import SearchQueue
    from orchestrator.workspace.settings import load_settings
    from orchestrator.workspace.workspace import Workspace

    monkeypatch.chdir(tmp_path)
    Path("farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    (tmp_path / "s.yaml").write_text(f"{SPACE}base: {{data: {json.dumps(tiny_config.data.model_dump(mode='json'))}}}\n")
    study, store = load_study(tmp_path / "s.yaml"), searched[1]
    stop = StopRequest()
    queue = SearchQueue(study, Workspace(load_settings(), store), lambda *trial: None, stop=stop)

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(optuna.storages.journal.JournalFileBackend, "append_logs", full)
    assert queue.next() is None
    assert isinstance(stop.reason, StorageFullError)
