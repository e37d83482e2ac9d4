"""The frames of a video file, by presentation time, and how to read them exactly.

Frame i of a video is the i-th that a player shows: in order of presentation, as edit lists have it, without packets
that are to be discarded. Everything that reads frames goes by this index, so that numbers of frames mean the same in
preparing, checking, training and testing, with every decoder.

``scan.index_file`` makes the index of one file; ``indexes`` keeps those of a data set next to its manifest.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 3
"""Raise it when a file's index would come out differently: stored ones are then rebuilt."""

DECORD, PYAV = "decord", "pyav"
MIRRORED = "mirrored"
"""Why decord cannot read a file whose display matrix mirrors it."""


@dataclass(frozen=True)
class FrameIndex:
    """One file's frames.

    Attributes:
        count: frames that are shown.
        fps: mean frames per second, 0 where the file does not say.
        width: pixels, upright.
        height: pixels, upright.
        reader: decoder whose random access is known to be exact for this file: ``decord`` or ``pyav``.
        inexact: why decord's random access is not known to be exact for it; empty where it is.
        stream: number of the video stream in the file.
        timestamps: presentation times of the frames in ticks of the stream, ascending; empty where they are missing or
            repeat, so that frames can only be counted.
        seek_points: times of key frames at which decoding may start; empty where it must start at the beginning.
        from_packets: whether the frames were counted by packets; else by decoding all of them.
        truncated: in what way the file ends before it says it does; empty where it is whole.
        size: of the file, in bytes, when it was indexed.
        mtime_ns: its modification time then.
        read_differently: in what way versions before the frame index read other frames of it
            (``far.data.decoding.earlier``); empty where they read the same.
    """

    count: int
    fps: float
    width: int
    height: int
    reader: str
    inexact: str
    stream: int
    timestamps: NDArray[np.int64]
    seek_points: NDArray[np.int64]
    from_packets: bool
    truncated: str
    size: int
    mtime_ns: int
    read_differently: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        return record | {name: base64.b85encode(pack(record[name])).decode() for name in _ARRAYS}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> FrameIndex:
        """Return what ``as_json`` gave."""
        return cls(**(record | {name: unpack(base64.b85decode(record[name])) for name in _ARRAYS}))


_ARRAYS = ("timestamps", "seek_points")


def pack(times: NDArray[np.int64]) -> bytes:
    """Return ascending times as few bytes: a constant rate costs next to nothing."""
    return zlib.compress(np.diff(times, prepend=0).astype("<i8").tobytes()) if times.size else b""


def unpack(data: bytes) -> NDArray[np.int64]:
    """Return what ``pack`` packed."""
    if not data:
        return np.zeros(0, np.int64)
    return np.frombuffer(zlib.decompress(data), "<i8").astype(np.int64).cumsum()
