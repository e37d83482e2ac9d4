"""Decoded videos on disk: one file each with all its frames, named by what they are, within a budget of bytes.

A file is written under another name and renamed, so that whoever finds it finds all of it; what a power cut or a disk
did to it afterwards shows in the checksum of each frame, which every process compares when it first reads the frame. A
file that is damaged, gone or cannot be read is a video that is not cached: nothing of it is ever served.

Files are read, not mapped: an error of the disk, or a file that another machine has removed on a network file system,
is then an error of this one read, where a map would kill the process (SIGBUS).
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.decoder import Frames, versioned
from far.data.decoding.disk_budget import SUFFIX, Budget, is_full
from far.data.decoding.frame_index import VERSION, FrameIndex

log = logging.getLogger(__name__)

LARGEST = 256 << 20
"""Bytes of frames of the largest video that is cached: while it is decoded, all of it is in memory three times."""
TOUCH = 60.0
"""Seconds after which a use of a file is noted again."""
_PAUSE = 60.0
"""Seconds for which nothing is written where there was no room between files in use."""
_CHECKSUM = np.dtype("<u4")
_FORMAT = 1
"""Raise it when the same frames would lie in a file in another way."""

_said: set[tuple[Path, str]] = set()


def frames_key(sha256: str, index: FrameIndex) -> str:
    """Return the name for the decoded frames of a file.

    Args:
        sha256: of the file's bytes.
        index: its frames and how they are read.
    """
    shape = (index.count, index.height, index.width)
    how = (_FORMAT, VERSION, sha256, shape, index.stream, versioned(index.reader), index.timestamps.tobytes())
    return hashlib.sha256(repr(how).encode()).hexdigest()[:32]


def size_on_disk(shape: tuple[int, ...]) -> int:
    """Return the bytes that frames (N, H, W, 3) take."""
    return int(np.prod(shape, dtype=np.int64)) + shape[0] * _CHECKSUM.itemsize


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
        self._verified: dict[str, tuple[int, bytearray]] = {}
        try:
            self._budget = Budget(folder, budget)
        except OSError as error:
            self.say(
                "cannot be written",
                f"data.cache_folder: {folder} cannot be written ({error.strerror}): decoded videos are not kept there, "
                "and those that it does not have are decoded every time (slower)",
            )
        # where nothing is written, nothing is removed: no use need be noted
        self._opened = self._budget.opened if self._budget else 0
        self._skew = self._opened - time.time_ns()

    @property
    def limit(self) -> int:
        """Bytes that the files may take now."""
        return self._budget.limit if self._budget else self._limit

    def has(self, key: str) -> bool:
        """Return whether the frames of this name are there."""
        return self._path(key).exists()

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
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            frames = self._frames(descriptor, key, shape, wanted)
        except OSError:  # also of another machine's removal, on a network file system
            return None
        finally:
            os.close(descriptor)
        if frames is None:
            self._discard(path, size_on_disk(shape))
        return frames

    def _frames(
        self, descriptor: int, key: str, shape: tuple[int, int, int, int], wanted: NDArray[np.int64]
    ) -> Frames | None:
        """Return frames of an open file, None if it is damaged."""
        status = os.fstat(descriptor)
        count, frame = shape[0], shape[1] * shape[2] * shape[3]
        if status.st_size != size_on_disk(shape):
            return None
        frames = np.empty((len(wanted), *shape[1:]), np.uint8)
        numbers = wanted.tolist()
        for row, number in zip(frames, numbers, strict=True):
            if os.preadv(descriptor, [row.data], number * frame) != frame:
                return None
        inode, verified = self._verified.get(key, (0, bytearray()))
        if inode != status.st_ino:
            verified = bytearray(count)
        if not all(verified[number] for number in numbers):
            stored = np.frombuffer(os.pread(descriptor, count * _CHECKSUM.itemsize, count * frame), _CHECKSUM)
            for row, number in zip(frames, numbers, strict=True):
                if zlib.crc32(row.data) != stored[number]:
                    return None
                verified[number] = 1
            self._verified[key] = (status.st_ino, verified)
        if status.st_mtime_ns < max(self._opened, time.time_ns() + self._skew - int(TOUCH * 1e9)):
            with suppress(OSError):  # another user's
                os.utime(descriptor)
        return frames

    def write(self, key: str, frames: Frames) -> None:
        """Keep all frames of a video, if there is room; nothing is raised where there is none.

        Args:
            key: the video's ``frames_key``.
            frames: (N, H, W, 3), in order.
        """
        path = self._path(key)
        if self._budget is None or not self.wants(frames.shape) or path.exists():
            return
        try:
            if not self._written(self._budget, path, np.ascontiguousarray(frames)):
                self._paused = time.monotonic() + _PAUSE
        except BlockingIOError:  # somebody was stopped who holds the lock
            self._paused = time.monotonic() + _PAUSE
        except OSError as error:
            self._paused = float("inf")
            what = "the disk is full" if is_full(error) else f"it cannot be written ({error.strerror})"
            self.say(
                what,
                f"data.cache_folder: {self._folder}: {what}, so no more decoded videos are kept there: those that it "
                "does not have are decoded every time (slower)",
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
            checksums = np.array([zlib.crc32(frame.data) for frame in frames], _CHECKSUM)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(frames.data)
                stream.write(checksums.data)
            if path.exists():  # another process was faster
                raise FileExistsError
            partial.replace(path)
        except BaseException as error:
            with suppress(OSError):
                partial.unlink()
            budget.release(size)
            if isinstance(error, FileExistsError):
                return True
            if isinstance(error, OSError) and is_full(error):
                budget.give_way()
            raise
        return True

    def _discard(self, path: Path, size: int) -> None:
        """Remove a damaged file, so that it is written again."""
        with suppress(OSError):
            path.unlink()
            if self._budget is not None:
                self._budget.release(size)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"

    def say(self, what: str, text: str) -> None:
        """Log a warning once in this process."""
        if (self._folder, what) not in _said:
            _said.add((self._folder, what))
            log.warning("%s: %s", self._name, text)
