"""Makes the frame index of one file: from its packets where they suffice, else by decoding it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far.data.decoding import bitstream
from far.data.decoding.containers import Structure, structure
from far.data.decoding.decoder import (
    DECODERS,
    VideoError,
    decoded_frames,
    explain,
    new_array,
    open_video,
    orientation,
    same_picture,
    upright,
)
from far.data.decoding.frame_index import DECORD, MIRRORED, PYAV, FrameIndex

if TYPE_CHECKING:
    import av

_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class _Packets:
    """A video stream's packets, in the order of the file.

    Attributes:
        stream: number of the stream.
        seconds: that the header announces, 0 if it says nothing that can be relied upon.
        missing_seconds: of those, after the last frame.
        fps: mean frames per second.
        shown: times of the packets that are to be shown; None where some have none.
        key: times of key frames at which decoding may start.
        why: why packets are not known to be frames; empty where they are.
        open: why decord's random access is not known to be exact; empty where it is.
        cut: packets that were cut off.
    """

    stream: int
    seconds: float
    missing_seconds: float
    fps: float
    shown: NDArray[np.int64]
    key: NDArray[np.int64]
    why: str
    open: str
    cut: int


def index_file(path: Path) -> FrameIndex:
    """Return the frame index of a file.

    Raises:
        VideoError: there is no such file, it is empty, or there is no video in it that decodes.
    """
    if not path.is_file():
        raise VideoError(path, "no such file")
    state = path.stat()
    if state.st_size == 0:
        raise VideoError(path, "the file is empty")
    try:
        outside = structure(path)
        packets = _read_packets(path, outside)
        first, turned = _first_frame(path, packets.stream)
    except VideoError:
        raise
    except Exception as error:
        raise VideoError(path, f"not a video that can be read ({explain(error, path)})") from error
    height, width = first.shape[:2]
    index = FrameIndex(
        count=len(packets.shown),
        fps=packets.fps,
        width=width,
        height=height,
        reader=PYAV,
        inexact=(MIRRORED if turned else "") or packets.why or packets.open,
        stream=packets.stream,
        timestamps=packets.shown,
        seek_points=packets.key,
        from_packets=not packets.why,
        truncated=_truncated(outside, packets, path),
        size=state.st_size,
        mtime_ns=state.st_mtime_ns,
    )
    if index.truncated or not index.from_packets:
        index = confirmed(path, index)
    if index.count < 1:
        raise VideoError(path, "there is no frame in it")
    return replace(index, reader=DECORD) if not index.inexact and _decord_agrees(path, index, first) else index


def confirmed(path: Path, index: FrameIndex) -> FrameIndex:
    """Decode every frame of a file and return its index as that shows it: the same, where it was right.

    A file that was cut off has the frames before the first that suffered from it.

    Raises:
        VideoError: some frame of a whole file does not decode.
    """
    times: list[int | None] = []
    try:
        with open_video(path) as container:
            for frame in decoded_frames(container, index.stream):
                if frame.is_corrupt:
                    raise ValueError("it is damaged")
                times.append(frame.pts)
    except Exception as error:
        if not index.truncated:
            raise VideoError(path, f"frame {len(times)} does not decode ({explain(error, path)})") from error
    if index.from_packets and times == index.timestamps.tolist():
        return index
    distinct = None not in times and all(a < b for a, b in pairwise(times))  # type: ignore[operator]
    return replace(
        index,
        count=len(times),
        timestamps=np.array(times, np.int64) if distinct else _NOTHING,
        seek_points=index.seek_points if distinct else _NOTHING,
        reader=PYAV,
        inexact=index.inexact or "its packets are not its frames",
        from_packets=False,
    )


def _read_packets(path: Path, outside: Structure) -> _Packets:
    with open_video(path) as container:
        videos = container.streams.video
        if not videos:
            raise VideoError(path, "there is no video in it")
        stream = container.streams.best("video") or videos[0]
        decoder = stream.codec_context.name
        codec = "av1" if decoder in ("libdav1d", "libaom-av1") else decoder
        rate = float(stream.average_rate or 0)
        reading = _Reading(codec, stream.codec_context.extradata or b"")
        for packet in _demux(container, stream):
            reading.add(packet)
        name = container.format.name
        relied_upon = name.startswith("matroska,") or outside.fragmented
        seconds = (container.duration or 0) / 1e6 if relied_upon else 0.0
        return _Packets(
            stream=stream.index,
            seconds=seconds,
            missing_seconds=seconds - reading.end * float(stream.time_base or 0),
            fps=rate if math.isfinite(rate) else 0.0,
            shown=reading.times(),
            key=np.array(sorted(reading.clean), np.int64) if _seeks_exactly(name) else _NOTHING,
            why=reading.why_not_frames() or ("" if _seeks_exactly(name) else f"{name.split(',')[0]} container"),
            open=reading.why_not_decord() or _container_reason(outside, len(videos)),
            cut=reading.cut,
        )


def _demux(container: av.container.InputContainer, stream: Any) -> Iterator[Any]:
    try:
        yield from container.demux() if stream is None else container.demux(stream)
    except (OSError, ValueError):  # what is there of a file that was cut off has been read
        return


def _seeks_exactly(container: str) -> bool:
    """Return whether seeking in such files goes by an index of key frames, with a time for every packet."""
    return container.startswith(("mov,", "matroska,"))


def _container_reason(outside: Structure, streams: int) -> str:
    if outside.fragmented:
        return "MP4 in fragments"
    if outside.missing:
        return "truncated"
    return "several video streams" if streams > 1 else ""


class _Reading:
    """Facts gathered from packets, one after the other."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self.codec, self.extradata = codec, extradata
        self.count = self.cut = self.discarded = 0
        self.end = 0
        self.shown: list[int] = []
        self.clean: list[int] = []
        self._timeless = self._odd = self._unclean = self._open = self._leading = False
        self._keys: list[tuple[int, int]] = []
        self._first_is_clean: bool | None = None

    def add(self, packet: Any) -> None:
        """Take the next packet; what is empty ends the file, or stands for a frame that is shown longer."""
        if not packet.size:
            return
        if packet.is_corrupt:
            self.cut += 1
            return
        self.count += 1
        data = bytes(packet)
        if packet.pts is None:
            self._timeless = True
            return
        self.end = max(self.end, packet.pts + (packet.duration or 0))
        self._odd |= not bitstream.is_one_frame(self.codec, data)
        if packet.is_keyframe:
            self._add_key(packet, data)
        elif self._first_is_clean is None:
            self._first_is_clean = False
        if self._keys and packet.pts < self._keys[-1][0]:
            self._leading = True
        if packet.is_discard:
            self.discarded += 1
        else:
            self.shown.append(packet.pts)

    def _add_key(self, packet: Any, data: bytes) -> None:
        clean = bitstream.starts_clean(self.codec, self.extradata, data)
        if clean:
            self.clean.append(packet.pts)
        if self._first_is_clean is None:
            self._first_is_clean = clean
        self._unclean |= not clean
        self._open |= not clean or not bitstream.is_closed(self.codec, self.extradata, data)
        self._keys.append((packet.pts, packet.dts if packet.dts is not None else packet.pts))

    def times(self) -> NDArray[np.int64]:
        """Return the times of what is shown, in order."""
        return np.sort(np.array(self.shown, np.int64))

    def why_not_frames(self) -> str:
        """Return why packets are not known to be frames, empty where they are."""
        if not self.count:
            return "no packets"
        if self._timeless:
            return "packets without a time"
        if len(set(self.shown)) != len(self.shown):
            return "two frames of one time"
        if self._odd:
            return f"{self.codec} packets that may not be one frame each"
        if not self._first_is_clean or min(self.shown, default=0) < self._keys[0][0]:
            return "it does not begin with a key frame"
        return ""

    def why_not_decord(self) -> str:
        """Return why decord's random access is not known to be exact, empty where it is.

        It takes key frames' places in the file for those in time, seeks by time, and counts frames from there.
        """
        if self.discarded:
            return "an edit list hides frames"
        if self._open:
            return "open groups of pictures"
        if self._leading:
            return "frames before their key frame"
        crowded = any(second_dts <= first for (first, _), (_, second_dts) in pairwise(self._keys))
        return "key frames closer than frames are reordered" if crowded else ""


def _first_frame(path: Path, stream: int) -> tuple[NDArray[np.uint8], bool]:
    """Return the first frame, upright, and whether it had to be mirrored for that."""
    with open_video(path) as container:
        frame = next(decoded_frames(container, stream), None)
        if frame is None:
            raise VideoError(path, "not one frame of it decodes")
        turn, rows, columns = orientation(frame)
        height, width = (frame.width, frame.height) if turn else (frame.height, frame.width)
        return upright(frame, width, height), turn ^ rows ^ columns


def _decord_agrees(path: Path, index: FrameIndex, first: NDArray[np.uint8]) -> bool:
    """Return whether decord opens the file, counts as many frames, and shows the same first one."""
    try:
        return same_picture(DECODERS[DECORD](path, index).get(np.arange(1), new_array)[0], first)
    except Exception:  # decord's errors derive from nothing narrower
        return False


def _truncated(outside: Structure, packets: _Packets, path: Path) -> str:
    if outside.missing:
        return f"{outside.missing} bytes are missing at its end"
    if packets.cut:
        return "its last frame is cut off"
    if packets.missing_seconds > _seconds_that_matter(packets.seconds):
        # another stream may last as long as the file says
        end = _last_end(path)
        if packets.seconds - end > _seconds_that_matter(packets.seconds):
            return f"it ends after {end:.1f} of the {packets.seconds:.1f} s that it announces"
    return ""


def _seconds_that_matter(seconds: float) -> float:
    """Return by how much a file may be shorter than it announces, for durations are rounded and estimated."""
    return max(0.5, 0.02 * seconds)


def _last_end(path: Path) -> float:
    """Return when the last packet of any stream ends, in seconds."""
    end = 0.0
    with open_video(path) as container:
        for packet in _demux(container, None):
            if packet.size and packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end
