"""Decoding behind a small interface: a file, its frame index and frame numbers in, RGB frames or a typed error out.

Each decoder reads by the index, so that frame i is the same frame whichever of them reads it. They run where the caller
is; ``far.data.decoding.pool`` runs them in a process that can be killed.
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.frame_index import DECORD, PYAV, FrameIndex
from far.errors import DataError
from far.registry import Registry

if TYPE_CHECKING:
    import av

Frames = NDArray[np.uint8]
"""RGB frames (N, H, W, 3), upright."""
Pick = Callable[[int], NDArray[np.int64]]
"""Maps a video's number of frames to the numbers of the frames wanted, in any order, repeats allowed."""
Allocate = Callable[[tuple[int, ...]], Frames]
"""Returns memory for frames of a shape (N, H, W, 3)."""


class VideoError(DataError):
    """A video that does not give the frames it should.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")

    def __reduce__(self) -> tuple[type[VideoError], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class Reader(Protocol):
    """An open video."""

    def get(self, indices: NDArray[np.int64], allocate: Allocate) -> Frames:
        """Return the frames of these numbers, which ascend without repeats, in memory from ``allocate``.

        Whatever it raises means that this decoder cannot read them.
        """

    def close(self) -> None:
        """Close the file."""


DECODERS: Registry[Callable[[Path, FrameIndex], Reader]] = Registry("video decoder")

_NEAR = 6
"""Frames from here to the last key frame before the one wanted, up to which decord reads on sooner than it seeks."""


def new_array(shape: tuple[int, ...]) -> Frames:
    """Return memory of its own for frames."""
    return np.empty(shape, np.uint8)


@DECODERS.register(DECORD)
class DecordReader:
    """Reads with decord: one thread, native size, rotation applied. It seeks exactly in some kinds of file only."""

    def __init__(self, path: Path, index: FrameIndex) -> None:
        self._reader = open_decord(path)
        if len(self._reader) != index.count:
            raise ValueError(f"it finds {len(self._reader)} frames, not {index.count}")
        self._position = 0

    def get(self, indices: NDArray[np.int64], allocate: Allocate) -> Frames:
        """Return the frames of these numbers in memory from ``allocate``.

        What decord's ``get_batch`` gives, which seeks to every key frame that it passes, and converts it to RGB, and
        whose result has to be copied twice before another process has it.
        """
        from decord.ndarray import zerocopy_from_numpy

        frames = None
        for row, number in enumerate(indices.tolist()):
            self._go_to(number)
            picture = self._reader.next()
            if frames is None:
                frames = allocate((len(indices), *picture.shape))
            picture.copyto(zerocopy_from_numpy(frames[row]))
            self._position = number + 1
        assert frames is not None
        return frames

    def _go_to(self, number: int) -> None:
        """Make a frame the next to be read."""
        keys = self._reader.get_key_indices()
        passed = keys[bisect_right(keys, self._position) : bisect_right(keys, number)]
        if passed and passed[-1] - self._position > _NEAR:
            self._reader.seek_accurate(number)
            return
        for key in passed:  # skipping over a key frame is seeking as well
            self._skip_to(key - 1)
            self._reader.next()
            self._position = key
        self._skip_to(number)

    def _skip_to(self, number: int) -> None:
        if number > self._position:
            self._reader.skip_frames(number - self._position)
            self._position = number

    def close(self) -> None:
        """Close the file."""
        del self._reader


def open_decord(path: Path) -> Any:
    """Return a ``decord.VideoReader`` of one thread."""
    import decord

    # Without a limit decord puts neighbours in the place of frames that it cannot decode, and says nothing.
    # Any positive fraction that rounds to no frame at all makes the first such frame an error.
    return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1, fault_tol=1e-9)


@DECODERS.register(PYAV)
class PyavReader:
    """Reads with PyAV: from the key frame before each frame wanted, else from the beginning; always exact.

    A frame is identified by its time, which is that of its packet. Where it does not turn up after seeking, the file is
    decoded in order and its frames are counted, which is what their numbers mean.
    """

    def __init__(self, path: Path, index: FrameIndex) -> None:
        self._path, self._index = path, index

    def get(self, indices: NDArray[np.int64], allocate: Allocate) -> Frames:
        """Return the frames of these numbers in memory from ``allocate``."""
        found = self._found(indices)
        return np.stack(found, out=allocate((len(found), *found[0].shape)))

    def _found(self, indices: NDArray[np.int64]) -> list[Frames]:
        if self._index.seek_points.size:
            with suppress(Exception):  # whatever it is, decoding in order decides
                return self._by_seeking(self._index.timestamps[indices])
        return self._in_order(indices)

    def _by_seeking(self, wanted: NDArray[np.int64]) -> list[Frames]:
        points = self._index.seek_points[np.searchsorted(self._index.seek_points, wanted, "right") - 1]
        found: list[Frames] = []
        with open_video(self._path) as container:
            stream = container.streams[self._index.stream]
            point: int | None = None
            decoded: Iterator[av.VideoFrame] = iter(())
            for time, start in zip(wanted.tolist(), points.tolist(), strict=True):
                if start != point:
                    container.seek(start, stream=stream)
                    point, decoded = start, decoded_frames(container, self._index.stream)
                frame = next(frame for frame in decoded if frame.pts is not None and frame.pts >= time)
                if frame.pts != time or frame.is_corrupt:
                    raise LookupError
                found.append(upright(frame, self._index.width, self._index.height))
        return found

    def _in_order(self, wanted: NDArray[np.int64]) -> list[Frames]:
        found, numbers = [], iter(wanted.tolist())
        number = next(numbers)
        with open_video(self._path) as container:
            for position, frame in enumerate(decoded_frames(container, self._index.stream)):
                if frame.is_corrupt:
                    raise ValueError(f"frame {position} is damaged")
                if position == number:
                    found.append(upright(frame, self._index.width, self._index.height))
                    number = next(numbers, -1)
                    if number < 0:
                        return found
        raise ValueError(f"it ends before frame {number} of {self._index.count}")

    def close(self) -> None:
        """Close the file."""


def open_video(path: Path) -> av.container.InputContainer:
    """Open a file with PyAV, to decode its videos with one thread each."""
    import av
    from av.codec.context import Flags

    container = av.open(str(path), metadata_errors="replace")
    for stream in container.streams.video:
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.unaligned  # else what is to be cropped off at the left may stay
    return container


def decoded_frames(container: av.container.InputContainer, stream: int) -> Iterator[av.VideoFrame]:
    """Yield a stream's frames as they are decoded; packets that were cut off are no frames."""
    for packet in container.demux(container.streams[stream]):
        if not packet.is_corrupt:
            yield from packet.decode()  # type: ignore[misc]


def upright(frame: av.VideoFrame, width: int, height: int) -> Frames:
    """Return a decoded frame as RGB of this size, turned and mirrored as its display matrix says."""
    turn, flip_rows, flip_columns = orientation(frame)
    stored_width, stored_height = (height, width) if turn else (width, height)
    picture: Any = frame.to_ndarray(format="rgb24", width=stored_width, height=stored_height)
    if turn:
        picture = picture.transpose(1, 0, 2)
    if flip_rows:
        picture = picture[::-1]
    if flip_columns:
        picture = picture[:, ::-1]
    upright_picture: Frames = picture
    return upright_picture


def orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Return whether to exchange rows and columns of a frame, and then to reverse the rows, and the columns.

    From its display matrix (ISO/IEC 14496-12, 6.2.2): x' = a·x + c·y, y' = b·x + d·y. An angle between is taken for the
    nearest right angle.
    """
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, d < 0, a < 0
    return True, b < 0, c < 0


_ROUNDING = 8
"""Grey levels by which decoders may differ in what they make of more than 8 bits."""


def same_picture(one: Frames, other: Frames) -> bool:
    """Return whether two decoders show the same: as large, and the same part of the coded picture."""
    return one.shape == other.shape and bool(np.abs(one.astype(np.int16) - other).max() <= _ROUNDING)


@dataclass(frozen=True)
class Decoded:
    """Frames wanted, and which decoder read them.

    Attributes:
        frames: RGB frames in the order asked for.
        decoder: its name in ``DECODERS``.
    """

    frames: Frames
    decoder: str


def decode(path: Path, index: FrameIndex, wanted: NDArray[np.int64], allocate: Allocate = new_array) -> Decoded:
    """Decode frames with the reader of the index, or with PyAV where that one fails.

    Args:
        path: the file.
        index: its frame index.
        wanted: numbers of the frames, in any order, repeats allowed.
        allocate: called once or more for memory; the frames are in what it returned last.

    Raises:
        VideoError: none can read them.
    """
    if not path.is_file():
        raise VideoError(path, "no such file")
    unique, inverse = np.unique(wanted, return_inverse=True)
    as_read = len(unique) == len(wanted) and bool((unique == wanted).all())
    reasons = []
    for decoder in dict.fromkeys((index.reader, PYAV)):
        try:
            with closing(DECODERS[decoder](path, index)) as reader:
                frames = reader.get(unique, allocate if as_read else new_array)
        except Exception as error:  # decord's errors derive from nothing narrower
            reasons.append(f"{decoder} cannot decode it ({explain(error, path)})")
        else:
            if not as_read:
                frames = np.take(frames, inverse, axis=0, out=allocate((len(wanted), *frames.shape[1:])), mode="clip")
            return Decoded(frames, decoder)
    raise VideoError(path, reasons[-1])


@functools.cache
def versioned(decoder: str) -> str:
    """Return the name and version of the decoder that reads files meant for ``decoder`` in this installation."""
    packages = {DECORD: ("decord", "decord2"), PYAV: ("av",)}[decoder]
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            return f"{decoder} {metadata.version(package)}"
    return versioned(PYAV)  # which stands in for what is not installed


_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: |Check failed: .* \(\S+ vs\. \S+\) |\[Errno -?\d+\] ")


def explain(error: Exception, path: Path) -> str:
    """Return a decoder's message without its source places, numbers and the path, which the caller names."""
    text: Any = _PLACE.sub("", " ".join(str(error).split()))
    if "duplicate frames" in text:
        return "frames are lost, and their neighbours would stand in for them"
    if text.startswith("Error reading"):
        return "not a video that it can read"
    text = text.replace(f": '{path}'", "")
    return text[:120] or type(error).__name__
