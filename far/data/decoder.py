"""Decoding behind a small interface: a file and frame numbers in, RGB frames or a typed error out.

decord comes first; PyAV opens what decord cannot (AV1, for one). Both run where the caller is; ``far.data.guard`` runs
them in a process that can be killed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from far.errors import DataError
from far.registry import Registry

T = TypeVar("T")
Frames = NDArray[np.uint8]
"""RGB frames (N, H, W, 3), upright."""
Pick = Callable[[int], NDArray[np.int64]]
"""Maps a video's number of frames to the numbers of the frames wanted, in any order, repeats allowed."""


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


class CannotOpenError(VideoError):
    """A file in which this decoder finds no video that it knows; another decoder may."""


class Reader(Protocol):
    """An open video."""

    count: int
    """Number of frames."""
    fps: float
    """Mean frames a second."""

    def get(self, indices: NDArray[np.int64]) -> Frames:
        """Return the frames of these numbers, which ascend without repeats, also from call to call.

        Whatever it raises means a bad file.
        """

    def close(self) -> None:
        """Give the file back."""


DECODERS: Registry[Callable[[Path], Reader]] = Registry("video decoder")
"""In the order in which they are tried on a file."""


@DECODERS.register("decord")
class DecordReader:
    """Reads with decord: one thread, native size, rotation applied."""

    def __init__(self, path: Path) -> None:
        import decord

        # Without a limit decord puts neighbours in the place of frames that it cannot decode, and says nothing.
        # Any positive fraction that rounds to no frame at all makes the first such frame an error.
        self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1, fault_tol=1e-9)
        self.count = len(self._reader)
        self.fps = float(self._reader.get_avg_fps())

    def get(self, indices: NDArray[np.int64]) -> Frames:
        """Return the frames of these numbers."""
        frames: Frames = self._reader.get_batch(indices.tolist()).asnumpy()
        return frames

    def close(self) -> None:
        """Give the file back."""
        del self._reader


@DECODERS.register("pyav")
class PyavReader:
    """Reads with PyAV, from the beginning to the last frame wanted; counts frames by their packets."""

    def __init__(self, path: Path) -> None:
        import av

        self._container = av.open(str(path))
        if not self._container.streams.video:
            raise ValueError("no video stream")
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.options = {"err_detect": "explode"}
        self.count = sum(packet.size > 0 for packet in self._container.demux(self._stream))
        self.fps = float(self._stream.average_rate or 0)
        self._container.seek(0)
        self._decoded = enumerate(self._container.decode(self._stream))

    def get(self, indices: NDArray[np.int64]) -> Frames:
        """Return the frames of these numbers; a later call may only go on from there."""
        wanted, frames = set(indices.tolist()), []
        for number, frame in self._decoded:
            if number in wanted:
                frames.append(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))
            if len(frames) == len(wanted):
                return np.stack(frames)
        raise ValueError(f"it ends before frame {indices[len(frames)]} of {self.count}")

    def close(self) -> None:
        """Give the file back."""
        self._container.close()


@dataclass(frozen=True)
class Facts:
    """What decoding every frame of a file showed.

    Attributes:
        count: frames that decode.
        header: frames that the container announces, 0 if it says nothing.
        fps: mean frames a second.
        width: pixels, upright.
        height: pixels, upright.
        decoder: which decoder read it.
    """

    count: int
    header: int
    fps: float
    width: int
    height: int
    decoder: str


@dataclass(frozen=True)
class Decoded:
    """Frames wanted, and what the file is.

    Attributes:
        frames: RGB frames in the order asked for.
        count: frames of the whole video.
        fps: mean frames a second.
        decoder: which decoder read it.
    """

    frames: Frames
    count: int
    fps: float
    decoder: str


def decode(path: Path, pick: Pick, decoder: str) -> Decoded:
    """Decode with one decoder.

    Raises:
        CannotOpenError: this decoder does not get as far as a number of frames.
        VideoError: it does, but decoding fails, or repeats frames in place of those it lost.
    """
    with _opened(path, decoder) as reader:
        wanted = pick(reader.count)
        unique, inverse = np.unique(wanted, return_inverse=True)
        frames = _get(reader, unique, path, decoder)
        frames = frames if len(unique) == len(wanted) and (unique == wanted).all() else frames[inverse]
        return Decoded(frames, reader.count, reader.fps, decoder)


def verify(path: Path, decoder: str, at_once: int = 16) -> Facts:
    """Decode every frame, a few at a time, and tell what the file is.

    Raises:
        CannotOpenError: this decoder does not get as far as a number of frames.
        VideoError: it does, but some frame does not decode.
    """
    with _opened(path, decoder) as reader:
        for start in range(0, reader.count, at_once):
            frames = _get(reader, np.arange(start, min(start + at_once, reader.count)), path, decoder)
        _, height, width, _ = frames.shape
        return Facts(reader.count, _announced(path), reader.fps, width, height, decoder)


def probe(path: Path, decoder: str) -> Facts:
    """Tell what the file is from its packets and its first frame.

    Raises:
        VideoError: it cannot be opened, or its first frame does not decode.
    """
    with _opened(path, decoder) as reader:
        _, height, width, _ = _get(reader, np.arange(1), path, decoder).shape
        return Facts(reader.count, _announced(path), reader.fps, width, height, decoder)


def first_able(path: Path, work: Callable[[Path, str], T]) -> T:
    """Return ``work(path, decoder)`` of the first decoder that can open the file.

    Raises:
        VideoError: there is no such file, it is empty, none can open it, or the one that can fails on it.
    """
    if not path.is_file():
        raise VideoError(path, "no such file")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty")
    refusals = []
    for decoder in DECODERS:
        try:
            return work(path, decoder)
        except CannotOpenError as error:
            refusals.append(error.reason)
    raise VideoError(path, "; ".join(refusals))


@contextmanager
def _opened(path: Path, decoder: str) -> Iterator[Reader]:
    try:
        reader = DECODERS[decoder](path)
    except Exception as error:  # decord's errors derive from nothing narrower
        raise CannotOpenError(path, f"{decoder} cannot open it ({_reason(error, path)})") from error
    with closing(reader):
        if reader.count < 1:
            raise CannotOpenError(path, f"{decoder} finds no frame in it")
        yield reader


def _get(reader: Reader, indices: NDArray[np.int64], path: Path, decoder: str) -> Frames:
    try:
        return reader.get(indices)
    except Exception as error:
        # decord takes the padded rows of some frames narrower than 64 pixels for a fourth channel: not the file's fault
        kind = CannotOpenError if _DECORD_PADDING in str(error) else VideoError
        raise kind(path, f"{decoder} cannot decode it ({_reason(error, path)})") from error


def _announced(path: Path) -> int:
    """Return the number of frames in the container's header, 0 if it has none."""
    import av

    with suppress(Exception), av.open(str(path)) as container:
        return int(container.streams.video[0].frames)
    return 0


_DECORD_PADDING = "size must exactly match"
_PLACE = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: |Check failed: .* \(\S+ vs\. \S+\) |\[Errno -?\d+\] ")


def _reason(error: Exception, path: Path) -> str:
    """Return a decoder's message without its source places, numbers and the path, which the caller names."""
    text = _PLACE.sub("", " ".join(str(error).split()))
    if "duplicate frames" in text:
        return "frames are lost, and their neighbours would stand in for them"
    if text.startswith("Error reading"):
        return "not a video that it knows"
    text = text.replace(f": '{path}'", "")
    return text[:120] or type(error).__name__
