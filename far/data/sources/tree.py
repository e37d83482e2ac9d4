"""The files below a folder, and what is there that only looks like one."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from far.data.sources.diagnostics import Diagnostics

VIDEO_SUFFIXES = frozenset(
    [".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"]
)
_PARTS = attrgetter("parts")
LIST_SUFFIXES = frozenset([".csv", ".json"])
HIDDEN = "hidden files and folders, not read"
NO_VIDEO, UNLISTED = "not a video file", "files that no list names, not used"
FOLDER, BROKEN, SPECIAL = "a folder", "a broken link", "a device, a pipe or a socket"
"""What a path may be instead of a file."""


@dataclass
class Tree:
    """What lies below a folder, sorted by path.

    Attributes:
        videos: regular files with the suffix of a video.
        lists: regular files with the suffix of a list.
        unusable: why something with the suffix of a video is no file.
        others: files of any other kind.
    """

    videos: list[Path] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)
    unusable: dict[Path, str] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)


def read_tree(top: Path, diagnostics: Diagnostics) -> Tree:
    """Return what lies below a folder.

    Links to folders are followed after everything else, so that a file has its real path where it has one below
    ``top``. Hidden files and folders are left out with a warning, as macOS and notebooks leave copies in them.
    """
    tree = Tree()
    visited = {_identity(folder) for folder in top.resolve().parents}
    folders, links = deque([top]), deque[Path]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            if (identity := _identity(folder)) in visited:
                continue
            visited.add(identity)
            with os.scandir(folder) as entries:
                for entry in entries:
                    _sort(entry, tree, folders, links, diagnostics)
        except OSError as error:
            diagnostics.warn(f"folders that cannot be read ({error.strerror})", diagnostics.place(folder))
    for paths in (tree.videos, tree.lists, tree.others):
        paths.sort(key=_PARTS)
    tree.unusable = dict(sorted(tree.unusable.items()))
    return tree


def _sort(entry: os.DirEntry[str], tree: Tree, folders: deque[Path], links: deque[Path], to: Diagnostics) -> None:
    path = Path(entry.path)
    suffix = path.suffix.lower()
    try:
        is_folder, is_file = entry.is_dir(), entry.is_file()
    except OSError:  # a link to itself
        is_folder = is_file = False
    is_video = suffix in VIDEO_SUFFIXES
    if path.name.startswith("."):
        if is_folder or is_video or suffix in LIST_SUFFIXES:
            to.warn(HIDDEN, to.place(path))
        return
    if is_folder:
        (links if entry.is_symlink() else folders).append(path)
    if is_video and not is_file:
        tree.unusable[path] = unusable(path)
    elif suffix in LIST_SUFFIXES and not is_file and not is_folder:
        to.warn(f"not a list, but {unusable(path)}", to.place(path))
    elif is_file:
        kind = tree.videos if is_video else tree.lists if suffix in LIST_SUFFIXES else tree.others
        kind.append(path)


def unusable(path: Path) -> str:
    """Return what a path is that is no file; an empty text for a file, or if there is nothing at all."""
    try:
        if path.is_file():
            return ""
        if path.is_dir():
            return FOLDER
        return SPECIAL if path.exists() else BROKEN if path.is_symlink() else ""
    except (OSError, ValueError):
        return ""


def is_file(path: Path) -> bool:
    """Return whether a path that a user wrote is a regular file; never raises, however odd the path is."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino
