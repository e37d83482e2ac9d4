"""The process that makes videos smaller for ``encoder_pool``: one file per request, on stdin and stdout.

Started as ``python -m far.data.sources.video_encoder``. It ends with its stdin. While it encodes it reports once per
second that it lives, which ends it if its parent has gone; its own alarm kills it if a decoder hangs after that.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.decoder import VideoError, decoded_frames, explain, open_video, orientation
from far.data.decoding.frame_index import FrameIndex
from far.data.decoding.scan import confirmed
from far.data.decoding.worker import answer_stream, receive, send
from far.errors import FarError
from far.store.atomic import write_atomic

CODEC = "libx264"
SETTINGS = {"preset": "veryfast", "tune": "fastdecode", "crf": "18", "g": "16", "bf": "0"}
"""What libx264 is asked for.

A key frame every 16 frames, as in MMAction2's ``tools/data/resize_videos.py --dense``; closed groups without B-frames.
``fastdecode`` leaves out CABAC and the deblocking filter, which take a third of the time to decode.
"""
STALLED = 300.0
"""Seconds without a frame after which a file is given up."""
_BEAT = 1.0
_UNKNOWN_RATE = 25.0
_VERSION = re.compile(rb"x264 - (core [ -~]+?) - H\.264")
_FULL_RANGE = 2

Beat = Callable[[], None]


class _OtherFramesError(Exception):
    """A file decodes to other frames than its packets announce."""


def write_smaller(source: Path, index: FrameIndex, target: Path, size: tuple[int, int], beat: Beat) -> str:
    """Re-encode a video as MP4, upright and without sound, every frame at its time.

    Args:
        source: the file.
        index: its frame index. Where its frames have no times, they follow one another at its mean rate.
        target: file to write, in one step.
        size: width and height of the result, both even.
        beat: called after every frame.

    Returns:
        The version of x264, as it stands in the file.

    Raises:
        VideoError: a frame does not decode, or MP4 cannot hold the times.
        StorageError: the target cannot be written.
    """
    versions: list[str] = []

    def write(stream: IO[bytes]) -> None:
        try:
            times = _encode(source, index, stream, size, beat)
        except _OtherFramesError:
            stream.seek(0)
            stream.truncate()
            times = _encode(source, confirmed(source, index), stream, size, beat)
        stream.flush()
        versions.append(_checked(source, Path(stream.name), times))

    try:
        write_atomic(target, write)
    except FarError:
        raise
    except Exception as error:  # of the encoder or the container: whatever it is, this file is left as it was
        raise VideoError(source, f"it cannot be re-encoded ({explain(error, source)})") from error
    return versions[0]


def _encode(source: Path, index: FrameIndex, stream: IO[bytes], size: tuple[int, int], beat: Beat) -> list[Fraction]:
    """Write the frames of a video into a stream and return their times in seconds."""
    import av
    from av.video.frame import PictureType

    rate = Fraction(index.fps or _UNKNOWN_RATE).limit_denominator(1001)
    has_times = index.timestamps.size > 0
    times: list[Fraction] = []
    with av.open(stream, "w", format="mp4") as container:
        video: Any = container.add_stream(CODEC, rate=rate, options=SETTINGS)
        encoder = video.codec_context
        for number, frame in enumerate(_frames(source, index)):
            if has_times and (number >= index.count or frame.pts != index.timestamps[number]):
                raise _OtherFramesError
            base = frame.time_base if has_times else 1 / rate
            if number == 0:
                encoder.width, encoder.height = size
                encoder.time_base, encoder.thread_count = base, 1
                _keep_colours(frame, encoder)
                if aspect := _pixel_aspect(source, index, turned=orientation(frame)[0]):
                    encoder.sample_aspect_ratio = aspect
            times.append((frame.pts if has_times else number) * base)
            smaller = _smaller(frame, size, encoder.pix_fmt)
            smaller.pts, smaller.time_base = (frame.pts if has_times else number), base
            smaller.pict_type = PictureType.NONE
            container.mux(video.encode(smaller))
            beat()
        if len(times) != index.count:
            raise _OtherFramesError
        container.mux(video.encode())
    return times


def _frames(source: Path, index: FrameIndex) -> Iterator[Any]:
    """Yield the decoded frames of a video.

    Raises:
        VideoError: one does not decode.
    """
    number = 0
    try:
        with open_video(source) as container:
            for frame in decoded_frames(container, index.stream):
                if frame.is_corrupt:
                    raise ValueError("it is damaged")
                yield frame
                number += 1
    except Exception as error:
        raise VideoError(source, f"frame {number} does not decode ({explain(error, source)})") from error


def _keep_colours(frame: Any, encoder: Any) -> None:
    """Say of the result what the source says of its colours, so that a decoder makes the same RGB of both."""
    is_full = frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE
    encoder.pix_fmt = "yuvj420p" if is_full else "yuv420p"
    encoder.color_range = frame.color_range
    if not frame.format.is_rgb:
        encoder.colorspace = frame.colorspace
        for name in ("color_primaries", "color_trc"):
            if hasattr(frame, name):  # PyAV 17
                setattr(encoder, name, getattr(frame, name))


def _pixel_aspect(source: Path, index: FrameIndex, *, turned: bool) -> Fraction | None:
    """Return the width of a pixel over its height, upright, None where the file does not say; players go by it."""
    with open_video(source) as container:
        stream: Any = container.streams[index.stream]
        aspect: Fraction | None = stream.codec_context.sample_aspect_ratio
    return 1 / aspect if turned and aspect else aspect


@cache
def _scaler() -> Callable[..., Any]:
    """Return what scales a frame; it keeps its tables from frame to frame."""
    import av
    from av.video.reformatter import Interpolation, VideoReformatter

    # bicubic, as ``ffmpeg`` scales; PyAV 17 and later would start a thread per CPU
    one_thread: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
    return partial(VideoReformatter().reformat, interpolation=Interpolation.BICUBIC, **one_thread)


def _smaller(frame: Any, size: tuple[int, int], pix_fmt: str) -> Any:
    """Return a frame of this size, turned and mirrored as its display matrix says."""
    import av

    turn, flip_rows, flip_columns = orientation(frame)
    width, height = size[::-1] if turn else size
    smaller = _scaler()(frame, width, height, pix_fmt)
    if not (turn or flip_rows or flip_columns):
        return smaller
    rows = smaller.to_ndarray()

    def turned(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        plane = plane.T if turn else plane
        return plane[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]

    chroma = [part.reshape(height // 2, width // 2) for part in np.split(rows[height:].ravel(), 2)]
    planes = [turned(plane).ravel() for plane in (rows[:height], *chroma)]
    return av.VideoFrame.from_ndarray(np.concatenate(planes).reshape(-1, size[0]), format=pix_fmt)


def _checked(source: Path, made: Path, times: list[Fraction]) -> str:
    """Return the version of the encoder that a file names, once its packets have turned out to have these times.

    Raises:
        VideoError: they have not.
    """
    with open_video(made) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        found = sorted((packet.pts or 0) * packet.time_base for packet in packets)
        if found != times:
            raise VideoError(source, "MP4 cannot hold the times of its frames")
        version = _VERSION.search(bytes(packets[0]))
    return version[1].decode() if version else "unknown"


def main() -> None:
    """Encode until the parent goes; an error is the answer to its request."""
    answers, last = answer_stream(), 0.0

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= _BEAT:
            last = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, STALLED + 5)
            send(answers, None)

    while True:
        try:
            request = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            beat()
            source, index, target, size = request
            answer: object = write_smaller(source, index, target, size, beat)
        except BrokenPipeError:  # the parent has gone
            os._exit(0)
        except Exception as error:
            answer = error
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(answers, answer)


if __name__ == "__main__":
    main()
