"""Decoded videos on disk: one file each with all its frames, named by what they are, within a budget of bytes.

A file is written under another name and renamed, so that whoever finds it finds all of it; what a power cut or a disk
did to it afterwards shows in the checksum of each frame, which every process compares when it first reads the frame. A
file that is damaged, gone or cannot be read is a video that is not cached: nothing of it is ever served.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.decoder import Frames, versioned
from far.data.decoding.disk_budget import SUFFIX, Budget, is_full
from far.data.decoding.frame_file import DamagedError, FrameFile, is_local, size_on_disk, write_frames
from far.data.decoding.frame_index import VERSION, FrameIndex

log = logging.getLogger(__name__)

LARGEST = 256 << 20
"""Bytes of frames of the largest video that is cached: while it is decoded, all of it is in memory three times."""
MOST_MAPPED = 16384
"""Files that a process maps at once; the kernel allows 65,530 maps by default (vm.max_map_count)."""
TOUCH = 60.0
"""Seconds after which a use of a file is noted again."""
_PAUSE = 60.0
"""Seconds for which nothing is written where there was no room between files in use."""
_FORMAT = 1
"""Raise it when the same frames would lie in a file in another way."""

_said: set[str] = set()
_open: dict[Path, dict[str, tuple[FrameFile, float]]] = {}
"""Files of a folder that this process has read, by name, and when their use was last noted: its next trial reads on."""


def frames_key(sha256: str, index: FrameIndex) -> str:
    """Return the name for the decoded frames of a file.

    Args:
        sha256: of the file's bytes.
        index: its frames and how they are read.
    """
    shape = (index.count, index.height, index.width)
    how = (_FORMAT, VERSION, sha256, shape, index.stream, versioned(index.reader), index.timestamps.tobytes())
    return hashlib.sha256(repr(how).encode()).hexdigest()[:32]


class DiskCache:
    """Decoded videos in a folder that any number of processes use at once.

    Where the folder cannot be written, what lies in it is read; where the disk is full, nothing more is written. Both
    are said once.

    Args:
        folder: where the files lie.
        budget: bytes that they may take.
        name: what the videos belong to, for messages.
    """

    def __init__(self, folder: Path, budget: int, name: str) -> None:
        self._folder, self._limit, self._name = folder, budget, name
        self._budget: Budget | None = None
        self._paused = 0.0
        if not _open.keys() <= {folder}:
            _open.clear()
        self._files = _open.setdefault(folder, {})
        for key in list(self._files):  # what was removed takes room as long as somebody maps it
            if not self.has(key):
                self._forget(key)
        try:
            self._budget = Budget(folder, budget, lambda name: self._forget(name.removesuffix(SUFFIX)))
        except OSError as error:
            say_once(
                f"{name}: data.cache_folder: {folder} cannot be written ({error.strerror}): decoded videos are not "
                "kept there, and those that it does not have are decoded every time (slower)"
            )
        # where nothing is written, nothing is removed: no use need be noted
        self._opened = self._budget.opened if self._budget else 0
        self._skew = self._opened - time.time_ns()
        self._began = time.monotonic()
        self._is_local = is_local(folder)

    @property
    def limit(self) -> int:
        """Bytes that the files may take now."""
        return self._budget.limit if self._budget else self._limit

    def has(self, key: str) -> bool:
        """Return whether the frames of this name are there."""
        return Path(self._path(key)).exists()

    def wants(self, shape: tuple[int, ...]) -> bool:
        """Return whether ``write`` would try to keep all frames of a video of this shape."""
        size = size_on_disk(shape)
        return self._budget is not None and time.monotonic() >= self._paused and size <= min(LARGEST, self.limit)

    def read(self, key: str, shape: tuple[int, int, int, int], wanted: NDArray[np.int64]) -> Frames | None:
        """Return some frames of a video, None if they are not there or damaged.

        Args:
            key: the video's ``frames_key``.
            shape: of all its frames, (N, H, W, 3).
            wanted: numbers of the frames, in any order, repeats allowed.
        """
        path, now = self._path(key), time.monotonic()
        file, noted = self._files.get(key, (None, 0.0))
        try:
            if file is None:
                file = FrameFile(path, shape, mapped=self._is_local and len(self._files) < MOST_MAPPED)
                if file.used < max(self._opened, time.time_ns() + self._skew - int(TOUCH * 1e9)):
                    _touch(path)
                self._files[key] = file, now
            elif noted < max(self._began, now - TOUCH):
                _touch(path)
                self._files[key] = file, now
            return file.read(wanted)
        except OSError:
            self._forget(key)
        except DamagedError:
            self._forget(key)
            if self._budget is not None:
                self._budget.remove(Path(path), size_on_disk(shape))
        return None

    def write(self, key: str, frames: Frames) -> None:
        """Keep all frames of a video, if there is room; nothing is raised where there is none.

        Args:
            key: the video's ``frames_key``.
            frames: (N, H, W, 3), in order.
        """
        path = Path(self._path(key))
        if self._budget is None or not self.wants(frames.shape) or path.exists():
            return
        try:
            if not self._written(self._budget, path, frames):
                self._paused = time.monotonic() + _PAUSE
        except BlockingIOError:  # somebody was stopped who holds the lock
            self._paused = time.monotonic() + _PAUSE
        except OSError as error:
            self._paused = float("inf")
            say_once(
                f"{self._name}: data.cache_folder: {self._folder}: {error.strerror}, so no more decoded videos are "
                "kept there: those that it does not have are decoded every time (slower)"
            )

    def _written(self, budget: Budget, path: Path, frames: Frames) -> bool:
        """Write a file; return whether there was room for it in the budget.

        Raises:
            OSError: it cannot be written.
        """
        size = size_on_disk(frames.shape)
        created = budget.create(path, size)
        if created is None:
            return False
        partial, descriptor = created
        try:
            with os.fdopen(descriptor, "wb") as stream:
                write_frames(stream, frames)
            if path.exists():  # another process was faster
                raise FileExistsError
            partial.replace(path)
        except BaseException as error:
            budget.remove(partial, size)
            if isinstance(error, FileExistsError):
                return True
            if isinstance(error, OSError) and is_full(error):
                budget.give_way()
            raise
        return True

    def _forget(self, key: str) -> None:
        """Let go of a file, so that its room is free once it is removed."""
        self._files.pop(key, None)

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}{SUFFIX}"


def say_once(text: str) -> None:
    """Log a warning once in this process."""
    if text not in _said:
        _said.add(text)
        log.warning("%s", text)


def _touch(path: str) -> None:
    """Note that a file was used.

    Raises:
        FileNotFoundError: it is gone.
    """
    try:
        os.utime(path)
    except FileNotFoundError:
        raise
    except OSError:  # another user's, or a file system that cannot be written
        pass
