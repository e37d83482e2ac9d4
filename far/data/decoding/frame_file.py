"""A file of one video's decoded frames: raw RGB, and then a checksum of each frame.

On a disk of this machine a file is mapped, and stays so when it is removed. On a network file system it is read: where
another machine has removed it, that is an error of one read, but a map would kill the process (SIGBUS).
"""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.decoder import Frames

LOCAL = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}
"""File systems of one machine, by the kernel's names."""
SMALL = 1 << 20
"""Bytes of frames up to which all of a file is compared with its checksums at once, which is faster."""
_CHECKSUM = np.dtype("<u4")


class DamagedError(Exception):
    """The content of a file is not what was written."""


def size_on_disk(shape: tuple[int, ...]) -> int:
    """Return the bytes that frames (N, H, W, 3) take in a file."""
    return math.prod(shape) + shape[0] * _CHECKSUM.itemsize


def write_frames(stream: IO[bytes], frames: Frames) -> None:
    """Write all frames of a video, (N, H, W, 3)."""
    frames = np.ascontiguousarray(frames)
    stream.write(frames.data)
    stream.write(np.array([zlib.crc32(frame.data) for frame in frames], _CHECKSUM).data)


class FrameFile:
    """A file that frames are read from.

    Args:
        path: the file.
        shape: of all its frames, (N, H, W, 3).
        mapped: whether it is mapped, if there is memory for it.

    Attributes:
        used: when it was last used, as its modification time says, in nanoseconds.

    Raises:
        OSError: it cannot be read.
        DamagedError: it is not what was written.
    """

    def __init__(self, path: str, shape: tuple[int, int, int, int], *, mapped: bool) -> None:
        self._path, self._shape = path, shape
        self._frame = math.prod(shape[1:])
        self._pages: Frames | None = None
        self._verified, self._is_verified = np.zeros(shape[0], bool), False
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            self.used, self._inode = status.st_mtime_ns, status.st_ino
            if status.st_size != size_on_disk(shape):
                raise DamagedError
            stored = os.pread(descriptor, shape[0] * _CHECKSUM.itemsize, shape[0] * self._frame)
            self._checksums = np.frombuffer(stored, _CHECKSUM)
            if mapped:
                self._pages = _mapped(descriptor, shape)
        finally:
            os.close(descriptor)
        if math.prod(shape) <= SMALL:
            numbers = np.arange(shape[0])
            self._verify(self._read(numbers) if self._pages is None else self._pages, numbers)

    def read(self, wanted: NDArray[np.int64]) -> Frames:
        """Return frames by their numbers; each is compared with its checksum when it is first read.

        Raises:
            OSError: it cannot be read, or another file has taken its place.
            DamagedError: a frame is not what was written.
        """
        frames = self._read(wanted) if self._pages is None else self._pages[wanted]
        if not self._is_verified:
            places = np.flatnonzero(~self._verified[wanted])
            self._verify(frames[places], wanted[places])
        return frames

    def _verify(self, frames: Frames, numbers: NDArray[np.int64]) -> None:
        for frame, number in zip(frames, numbers.tolist(), strict=True):
            if zlib.crc32(frame.data) != self._checksums[number]:
                raise DamagedError
        self._verified[numbers] = True
        self._is_verified = bool(self._verified.all())

    def _read(self, wanted: NDArray[np.int64]) -> Frames:
        frames = np.empty((len(wanted), *self._shape[1:]), np.uint8)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_ino != self._inode:
                raise FileNotFoundError
            for frame, number in zip(frames, wanted.tolist(), strict=True):
                if os.preadv(descriptor, [frame.data], number * self._frame) != self._frame:
                    raise DamagedError
        finally:
            os.close(descriptor)
        return frames


def _mapped(descriptor: int, shape: tuple[int, ...]) -> Frames | None:
    """Return a map of frames (N, H, W, 3) at the beginning of an open file, None where there is no memory for it.

    The descriptor may be closed afterwards.
    """
    import torch

    try:
        # NumPy's maps, and Python's, each keep a descriptor open, of which a process often has no more than 1,024
        pages = torch.from_file(f"/proc/self/fd/{descriptor}", shared=False, size=math.prod(shape), dtype=torch.uint8)
    except RuntimeError:  # the kernel counts all private maps where it is told to (vm.overcommit_memory=2)
        return None
    return pages.numpy().reshape(shape)


def is_local(folder: Path) -> bool:
    """Return whether a folder is known to lie on a disk of this machine."""
    try:
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = {line.split(" - ", 1)[1].split()[0] for line in mounts if line.split()[2] == number}
    return bool(kinds) and kinds <= LOCAL
