"""Removes the shared windows that no living process reads any more, as ``python -m far.data.sharing.leftovers``.

A window is a folder ``farlab-<uid>-<name>`` in shared memory, or in the folder for temporary files. Each of its readers
holds a file in ``readers/`` locked (``flock``); the kernel releases it when the reader dies, however it dies. Whoever
makes, joins or removes a window holds its file ``lock``, and having got it looks whether the folder is still in its
place. This file imports nothing but the standard library: a watchdog runs it as a script.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PREFIX = f"farlab-{os.getuid()}-"
"""How the name of a window's folder begins."""
LOCK, READERS, CLIPS, CLAIMS = "lock", "readers", "clips", "claims"
"""All that a window consists of."""


def places() -> list[Path]:
    """Return the folders in which windows may lie."""
    return [place for place in dict.fromkeys((SHARED_MEMORY, Path(tempfile.gettempdir()))) if place.is_dir()]


def clear(where: Sequence[Path] | None = None) -> list[Path]:
    """Remove this user's windows that have no living reader; return them.

    Args:
        where: folders to look in; default: ``places()``.
    """
    return [window for window in _windows(where) if remove(window)]


def abandoned(where: Sequence[Path] | None = None) -> list[Path]:
    """Return what ``clear`` would remove."""
    return [window for window in _windows(where) if not any(map(is_held, readers_in(window)))]


def _windows(where: Sequence[Path] | None) -> list[Path]:
    found = [window for place in where or places() for window in sorted(place.glob(f"{PREFIX}*"))]
    return [window for window in found if _is_window(window)]


def remove(window: Path) -> bool:
    """Remove a window unless it has a living reader; return whether it is gone."""
    with _locked(window) as is_locked:
        if not is_locked or any(map(is_held, readers_in(window))):
            return False
        # Nobody opens anything in it under its new name, so that it is empty when its last file has gone.
        away = window.with_name(f"{PREFIX}removed-{uuid.uuid4().hex}")
        with contextlib.suppress(OSError):
            window.rename(away)
            shutil.rmtree(away, ignore_errors=True)  # what a kill leaves here has no reader, and goes the next time
            return True
    return False


@contextlib.contextmanager
def _locked(window: Path) -> Iterator[bool]:
    """Hold a window's lock; yield whether it was to be had, and is the lock of that place."""
    descriptor, is_locked = -1, False
    with contextlib.suppress(OSError):  # somebody else holds it, or has removed it
        descriptor = os.open(window / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_locked = os.path.samestat(os.fstat(descriptor), (window / LOCK).stat())
    try:
        yield is_locked
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _is_window(folder: Path) -> bool:
    """Return whether a folder is this user's and has nothing in it but what a window has."""
    with contextlib.suppress(OSError):
        is_ours = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        return is_ours and {path.name for path in folder.iterdir()} <= {LOCK, READERS, CLIPS, CLAIMS}
    return False


def readers_in(window: Path) -> list[Path]:
    """Return the files of a window's readers, living or dead."""
    with contextlib.suppress(OSError):
        return list((window / READERS).iterdir())
    return []


def is_held(reader: Path) -> bool:
    """Return whether a living process holds a file."""
    try:
        descriptor = os.open(reader, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # it has gone
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


if __name__ == "__main__":
    for removed in clear():
        print(f"removed {removed}")
