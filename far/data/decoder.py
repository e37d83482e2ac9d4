"""Decoding behind a small interface: a file and frame numbers in, RGB frames or a typed error out.

Readers are opened where they are used and closed at once; decord's cannot be handed between processes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from far.errors import DataError
from far.registry import Registry

Frames = NDArray[np.uint8]
"""RGB frames (N, H, W, 3)."""
Pick = Callable[[int], NDArray[np.int64]]
"""Maps a video's number of frames to the numbers of the frames wanted, in any order, repeats allowed."""


class VideoError(DataError):
    """A video that gives no frames.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class Reader(Protocol):
    """An open video."""

    @property
    def count(self) -> int:
        """Number of frames."""

    def get(self, indices: NDArray[np.int64]) -> Frames:
        """Return the frames of these numbers, ascending and without repeats."""


DECODERS: Registry[Callable[[Path], Reader]] = Registry("video decoder")


@DECODERS.register("decord")
class DecordReader:
    """Reads with decord: one thread, native size, rotation applied."""

    def __init__(self, path: Path) -> None:
        import decord

        self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        self.count = len(self._reader)

    def get(self, indices: NDArray[np.int64]) -> Frames:
        """Return the frames of these numbers, ascending and without repeats."""
        frames: Frames = self._reader.get_batch(indices.tolist()).asnumpy()
        return frames


def read_frames(path: Path, pick: Pick, decoder: str = "decord") -> Frames:
    """Return the frames that ``pick`` asks for, in its order.

    Raises:
        VideoError: the file cannot be opened or decoded.
    """
    try:
        reader = DECODERS[decoder](path)
        wanted = pick(reader.count)
        unique, inverse = np.unique(wanted, return_inverse=True)
        return reader.get(unique)[inverse]
    except Exception as error:  # decord's own errors derive from nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise VideoError(path, f"{decoder} cannot read it: {reason or type(error).__name__}") from error
