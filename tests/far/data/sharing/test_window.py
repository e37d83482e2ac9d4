from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from far.data.sharing import window as module
from far.data.sharing.window import Window, expected, name_of

GROUP = "abc"
CLIP = np.arange(1000, dtype=np.uint8)
SIZE = CLIP.nbytes + 128


@contextlib.contextmanager
def opened(directory: Path, trial: str, clips: int = 8) -> Iterator[Window]:
    window = Window(directory, clips * SIZE, trial, [GROUP])
    try:
        yield window
    finally:
        window.close()


def put(window: Window, place: int, use: float = 0.0, readers: list | None = None) -> bool:
    return window.publish(name_of(GROUP, place), np.roll(CLIP, place), readers or [window.me], use)


def places(window: Window) -> list[int]:
    return [place for place in range(100) if window.has(name_of(GROUP, place))]


def test_a_clip_is_mapped_and_what_one_reader_does_to_it_no_other_sees(tmp_path: Path) -> None:
    with opened(tmp_path / "w", "one") as one, opened(tmp_path / "w", "two") as two:
        assert one.take(name_of(GROUP, 3)) is None
        assert put(one, 3)
        mine, theirs = one.take(name_of(GROUP, 3)), two.take(name_of(GROUP, 3))
        assert mine is not None
        assert theirs is not None
        mine[:] = 0
        assert np.array_equal(theirs, np.roll(CLIP, 3))
        two.discard(name_of(GROUP, 3))
        assert np.array_equal(theirs, np.roll(CLIP, 3)), "a map outlives its name"


def test_readers_know_of_each_other_and_the_last_removes_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", -1.0)
    with opened(tmp_path / "w", "one") as one:
        with opened(tmp_path / "w", "two") as two, opened(tmp_path / "w", "one") as rank_1:
            two.move(17)
            assert sorted((each.trial, each.place) for each in one.others()) == [("one", 0), ("two", 17)]
            assert {each.trial for each in two.others()} == {"one"}
            assert {each.trial for each in rank_1.others()} == {"one", "two"}
        assert one.others() == []
        assert (tmp_path / "w").exists()
    assert not (tmp_path / "w").exists()


def test_what_nobody_wants_goes_first_then_what_is_wanted_last(tmp_path: Path) -> None:
    with opened(tmp_path / "w", "one", clips=4) as window:
        readers = [expected("a", [GROUP], 2), expected("b", [GROUP], 4)]
        for place in (1, 3, 6, 9):
            assert put(window, place, 0, readers)
        assert put(window, 5, 1, readers)
        assert 1 not in places(window), "both are past it"
        assert {3, 5} <= set(places(window))
        assert put(window, 7, 3, readers)
        assert 9 not in places(window), "of those left the last that is wanted"


def test_a_clip_that_is_wanted_after_all_others_is_not_taken_in(tmp_path: Path) -> None:
    with opened(tmp_path / "w", "one", clips=4) as window:
        for place in range(4):
            assert put(window, place, place)
        assert not put(window, 50, 50)
        assert places(window) == [0, 1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=40), st.integers(1, 6))
def test_the_size_is_never_exceeded(tmp_path_factory: pytest.TempPathFactory, steps: list, clips: int) -> None:
    directory = tmp_path_factory.mktemp("windows") / "w"
    with opened(directory, "one", clips=clips) as window:
        for place, at in steps:
            window.move(at)
            if put(window, place, max(0, place - at)):
                found = window.take(name_of(GROUP, place))
                assert found is not None
                assert np.array_equal(found, np.roll(CLIP, place))
            assert sum(path.stat().st_size for path in (directory / "clips").iterdir()) <= window.size


def test_a_clip_is_made_by_one_thread_of_all(tmp_path: Path) -> None:
    together, mine = threading.Barrier(8), []

    def claim() -> None:
        with opened(tmp_path / "w", "any") as window:
            together.wait()
            with window.claim("clip") as is_mine:
                mine.append(is_mine)
                together.wait()
            together.wait()  # else the last to leave takes the directory

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(mine) == [False] * 7 + [True]


KILLED = """
import sys, time
from pathlib import Path
from far.data.sharing.window import Window
window = Window(Path(sys.argv[1]), 10**6, "killed", ["abc"])
with window.claim("abc-000000000001"):
    (Path(sys.argv[1]) / "clips" / f".{window._path.name}.0").write_bytes(b"half a clip")
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    "found", [b"", b"\x93NUMPY garbage", b"[1000]".ljust(128), b"[1000]".ljust(128) + bytes(999), b"{}".ljust(1128)]
)
def test_a_file_that_is_no_whole_clip_is_taken_for_none(tmp_path: Path, found: bytes) -> None:
    with opened(tmp_path / "w", "one") as window:
        (tmp_path / "w" / "clips" / name_of(GROUP, 1)).write_bytes(found)
        assert window.take(name_of(GROUP, 1)) is None
        assert put(window, 1)
        clip = window.take(name_of(GROUP, 1))
        assert clip is not None
        assert np.array_equal(clip, np.roll(CLIP, 1))


def test_a_window_that_killed_readers_left_is_begun_anew(tmp_path: Path) -> None:
    for folder in ("clips", "claims", "readers"):
        (tmp_path / "w" / folder).mkdir(parents=True)
        (tmp_path / "w" / folder / name_of(GROUP, 1)).write_bytes(b"[1]".ljust(129))
    (tmp_path / "w" / "lock").write_bytes(b"odd")
    with opened(tmp_path / "w", "one") as window:
        assert window.take(name_of(GROUP, 1)) is None
        assert all(put(window, place) for place in range(8))
        with opened(tmp_path / "w", "two") as other:
            assert other.take(name_of(GROUP, 7)) is not None, "who joins living readers finds their clips"


def test_a_clip_that_cannot_be_mapped_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("unable to mmap 128 bytes: Cannot allocate memory (12)")

    with opened(tmp_path / "w", "one") as window:
        assert put(window, 1)
        monkeypatch.setattr(torch, "from_file", refused)
        for _ in range(2):
            clip = window.take(name_of(GROUP, 1))
            assert clip is not None and np.array_equal(clip, np.roll(CLIP, 1))
            clip[:] = 0


def test_maps_of_clips_keep_no_files_open(tmp_path: Path) -> None:
    with opened(tmp_path / "w", "one") as window:
        assert put(window, 1)
        before = len(list(Path("/proc/self/fd").iterdir()))
        clips = [window.take(name_of(GROUP, 1)) for _ in range(50)]
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert all(clip is not None and np.array_equal(clip, np.roll(CLIP, 1)) for clip in clips)


def test_a_full_window_is_not_looked_through_for_each_clip_that_finds_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "w", "one", clips=4) as window:
        for place in range(4):
            assert put(window, place, place)
        looks: list[int] = []
        monkeypatch.setattr(window, "_sizes", lambda: looks.append(1) or Window._sizes(window))
        assert not any(put(window, place, place) for place in range(50, 80))
        assert len(looks) <= 2
        assert put(window, 2, 1), "what is wanted sooner is looked for room all the same"


def test_who_is_killed_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", -1.0)
    with opened(tmp_path / "w", "one") as window:
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "w"], stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"holds\n"
        with window.claim(name_of(GROUP, 1)) as is_mine:
            assert not is_mine
        assert [each.trial for each in window.others()] == ["killed"]
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with window.claim(name_of(GROUP, 1)) as is_mine:
            assert is_mine
        assert window.others() == []
        for place in range(9):
            put(window, place, 0)
        assert not list((tmp_path / "w" / "clips").glob(".*"))


STOPPED = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)
print("holds", flush=True)
time.sleep(60)
"""


def test_who_is_stopped_with_the_lock_in_hand_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NO_PATIENCE", 0.2)
    with opened(tmp_path / "w", "one") as window:
        assert put(window, 1)
        command = [sys.executable, "-S", "-c", STOPPED, tmp_path / "w" / "lock"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.readline() == b"holds\n"
            os.kill(process.pid, signal.SIGSTOP)
            assert not put(window, 2)
            window.discard(name_of(GROUP, 1))
            assert places(window) == [1]
            with pytest.raises(TimeoutError, match="does not go on"):
                Window(tmp_path / "w", 1, "two", [])
            process.kill()
        assert put(window, 2)


def test_a_closed_window_is_not_used_any_more(tmp_path: Path) -> None:
    with opened(tmp_path / "w", "one") as window:
        pass
    window.close()
    with pytest.raises(OSError):
        put(window, 1)


def test_a_directory_that_another_user_could_have_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "w").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="not a folder of this user's"):
        Window(tmp_path / "w", 1, "one", [])
