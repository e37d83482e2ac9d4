"""What versions before the frame index read of a file: by decord's own seeking where it opens the file, else by PyAV.

Trials of those versions may have seen other frames than the same trial sees now. Here the earlier reading is done once
more, so that only files are named for which it makes a difference.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from far.architecture.sampling import SAMPLERS, sampler
from far.config.data import DataConfig
from far.data.decoding.decoder import Frames, decode, explain, open_decord, open_video, same_picture
from far.data.decoding.frame_index import DECORD, MIRRORED, FrameIndex

LENGTH, STRIDE, VIEWS = 16, 4, 5
"""Clips that are tried of each sampling rule: frames, stride, and test views."""
_AT_ONCE = 16


def read_differently(path: Path, index: FrameIndex) -> str:
    """Return in what way earlier versions read other frames of a file than its index says, empty if they did not.

    Where decord's seeking is not known to be exact, clips of every sampling rule are read with it and compared with
    what it reads in order: a file that passes reads the same as far as that shows.
    """
    if index.inexact == MIRRORED:
        return "its mirroring was ignored"
    if index.reader == DECORD:
        return ""
    try:
        reader = open_decord(path)
        count = len(reader)
    except Exception:  # decord's errors derive from nothing narrower
        count = _packets(path, index.stream)  # PyAV read it, in order, and counted packets
        return "" if count == index.count else f"{count} frames were counted, not {index.count}"
    if count != index.count:
        return f"{count} frames were counted, not {index.count}"
    try:
        if not same_picture(reader.get_batch([0]).asnumpy()[0], decode(path, index, np.zeros(1, np.int64)).frames[0]):
            return "its first frame was another picture"
        in_order = [
            checksum
            for start in range(0, count, _AT_ONCE)
            for checksum in _checksums(reader.get_batch(range(start, min(start + _AT_ONCE, count))).asnumpy())
        ]
        for clip in _clips(count):
            got = _checksums(open_decord(path).get_batch(clip.tolist()).asnumpy())
            other = sum(in_order[number] != checksum for number, checksum in zip(clip, got, strict=True))
            if other:
                return f"{other} frames of a clip of {len(clip)} were others"
    except Exception as error:
        return f"decord could not read it ({explain(error, path)})"
    return ""


def _clips(count: int) -> Iterator[NDArray[np.int64]]:
    """Yield frame numbers as one reading asked for them: those of all test views, or of a training clip."""
    rng = np.random.default_rng(0)
    for name in SAMPLERS:
        scheme = sampler(DataConfig(sampling=name, stride=STRIDE))
        yield np.unique(scheme.view(count, LENGTH, 0, 1))
        yield np.unique([scheme.view(count, LENGTH, view, VIEWS) for view in range(VIEWS)])
        yield np.unique(scheme.train(count, LENGTH, rng))


def _checksums(frames: Frames) -> list[int]:
    return [zlib.crc32(np.ascontiguousarray(frame).data) for frame in frames]


def _packets(path: Path, stream: int) -> int:
    with open_video(path) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams[stream]))
