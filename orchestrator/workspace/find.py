"""The workspace that a command belongs to: found from the current directory upwards, as git finds its own.

A directory is a workspace if ``farlab.toml`` lies in it, or a store named ``runs``; the nearest one wins. Where there
is none, the current directory becomes one with the first thing that is written.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

FILE_NAME = "farlab.toml"
STORE_NAME = "runs"
"""The store's folder unless ``farlab.toml`` says otherwise."""


@dataclass(frozen=True)
class Place:
    """Where a workspace is.

    Attributes:
        folder: its directory.
        file: its ``farlab.toml``, if it has one.
        owner: name of the user whom it belongs to, if that is another user.
        trusted: whether it is one's own, or the administrator's.
    """

    folder: Path
    file: Path | None
    owner: str | None
    trusted: bool

    def __str__(self) -> str:
        return f"{self.folder} ({FILE_NAME})" if self.file else str(self.folder)


def find_workspace(start: Path) -> Place:
    """Return the workspace of a directory: the nearest one upwards, or itself."""
    for folder in (start, *start.parents):
        if _is_file(folder / FILE_NAME):
            return _owned(folder, folder / FILE_NAME)
        if is_store(folder / STORE_NAME):
            return _owned(folder, None)
    return Place(start, None, None, trusted=True)


def is_store(folder: Path) -> bool:
    """Return whether FARLab has written this folder: other programs call theirs ``runs`` too."""
    if _is_file(folder / "store.id"):
        return True
    try:
        trials = islice((folder / "trials").iterdir(), 20)
        return any(_is_file(trial / "trial.json") for trial in trials)
    except OSError:
        return False


def _owned(folder: Path, file: Path | None) -> Place:
    try:
        uid = (file or folder / STORE_NAME).stat().st_uid
    except OSError:
        return Place(folder, file, None, trusted=False)
    return Place(folder, file, None if uid == os.geteuid() else _user_name(uid), trusted=uid in (0, os.geteuid()))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder above that may not be entered
        return False


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
