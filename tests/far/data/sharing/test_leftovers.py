"""What readers that were killed leave in shared memory goes; what is read or made at that moment stays."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from far.data.sharing import leftovers
from far.data.sharing.leftovers import LOCK, PREFIX, READERS, abandoned, clear

READER = """
import fcntl, os, sys, time
reader = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(reader, fcntl.LOCK_EX)
print("reads", flush=True)
time.sleep(60)
"""


def window(place: Path, name: str) -> Path:
    """Make a window with a clip in it."""
    made = place / f"{PREFIX}{name}"
    for folder in (READERS, "clips"):
        (made / folder).mkdir(parents=True)
    (made / LOCK).touch()
    (made / "clips" / "a").write_bytes(bytes(1000))
    return made


@pytest.fixture
def read(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that reads a window."""
    path = window(tmp_path, "read") / READERS / "one"
    process = subprocess.Popen([sys.executable, "-S", "-c", READER, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "reads\n"
    yield process
    process.kill()
    process.communicate()


def test_a_window_goes_when_its_last_reader_was_killed(tmp_path: Path, read: subprocess.Popen[str]) -> None:
    dead, living = window(tmp_path, "dead"), tmp_path / f"{PREFIX}read"
    (dead / READERS / "one").touch()
    (living / READERS / "dead").touch()  # its other reader
    assert abandoned([tmp_path]) == clear([tmp_path]) == [dead]
    assert clear([tmp_path]) == []
    read.kill()
    read.wait()
    assert clear([tmp_path]) == [living]
    assert list(tmp_path.iterdir()) == []


def test_a_window_that_somebody_is_making_or_joining_stays(tmp_path: Path) -> None:
    made = window(tmp_path, "new")
    with (made / LOCK).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert clear([tmp_path]) == []
    assert clear([tmp_path]) == [made]


def test_who_waited_for_the_lock_of_a_window_that_went_sees_that(tmp_path: Path) -> None:
    made = window(tmp_path, "going")
    waiting = os.open(made / LOCK, os.O_RDWR)  # of a reader that is about to join
    assert clear([tmp_path]) == [made]
    assert os.fstat(waiting).st_nlink == 0
    os.close(waiting)


def test_what_is_not_a_window_of_this_user_is_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("farlab-abc_1234", f"farlab-{os.getuid() + 1}-demo", "elsewhere")]
    for other in others:
        (other / READERS).mkdir(parents=True)
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}file").touch()
    assert abandoned([tmp_path]) == clear([tmp_path]) == []
    assert all(other.is_dir() for other in others)


def test_a_removal_that_was_cut_off_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window(tmp_path, "large")
    with monkeypatch.context() as patched:
        patched.setattr(leftovers.shutil, "rmtree", lambda *arguments, **options: None)
        clear([tmp_path])
    assert len(clear([tmp_path])) == 1
    assert list(tmp_path.iterdir()) == []


def test_it_runs_by_the_standard_library_alone(tmp_path: Path) -> None:
    dead = window(tmp_path, "dead")
    command = [sys.executable, "-I", "-S", leftovers.__file__]
    done = subprocess.run(command, env={"TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert f"removed {dead}" in done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert not dead.exists()


def test_a_folder_of_that_name_with_anything_else_in_it_stays(tmp_path: Path) -> None:
    other = tmp_path / f"{PREFIX}results"
    other.mkdir()
    (other / "table.tex").write_text("weeks of work")
    assert abandoned([tmp_path]) == clear([tmp_path]) == []
    assert (other / "table.tex").exists()
