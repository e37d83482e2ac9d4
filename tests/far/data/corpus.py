"""Videos whose frames carry their number as pixels, in many containers, codecs and structures.

A frame is 6 x 4 grey blocks: the ten bits of its number, their complement and a fixed pattern. A frame that is
mirrored, turned or a mixture of two does not read as any number.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROWS, COLUMNS, BLOCK = 4, 6, 32
BITS = 10
PATTERN = (1, 0, 1, 1)
FPS = 25


def frame(number: int) -> np.ndarray:
    """Return the frame (128, 192, 3) of a number."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    blocks = np.array([*bits, *(1 - bit for bit in bits), *PATTERN]).reshape(ROWS, COLUMNS)
    grey = (40 + 170 * blocks).astype(np.uint8).repeat(BLOCK, 0).repeat(BLOCK, 1)
    return np.repeat(grey[..., None], 3, 2)


def number_of(picture: np.ndarray) -> int:
    """Return the number that a picture (H, W, 3) carries, -1 if none."""
    if picture.shape[:2] != (ROWS * BLOCK, COLUMNS * BLOCK):
        return -1
    blocks = picture[..., 1].reshape(ROWS, BLOCK, COLUMNS, BLOCK)[:, 12:-12, :, 12:-12].mean((1, 3)).ravel() > 125
    bits, complement, pattern = blocks[:BITS], blocks[BITS : 2 * BITS], blocks[2 * BITS :]
    if (bits == complement).any() or tuple(pattern.astype(int)) != PATTERN:
        return -1
    return int((bits << np.arange(BITS)).sum())


@dataclass(frozen=True)
class Recipe:
    """How one video of the corpus is made, and the numbers that a player shows, in order."""

    name: str
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    frames: int = 120
    pix_fmt: str = "yuv420p"
    times: Callable[[int], int] | None = None
    """Presentation time of frame i in 1/100 s; default: constant rate."""
    draw: Callable[[np.ndarray], np.ndarray] = lambda picture: picture
    """What is stored in place of the upright picture."""
    container_options: dict[str, str] = field(default_factory=dict)
    change: Callable[[Path], None] = lambda path: None
    """Done to the written file."""
    shows: range | None = None
    """Default: all frames."""

    @property
    def id(self) -> str:
        return self.name.replace(".", "_")

    @property
    def file(self) -> str:
        return f"{self.id}{Path(self.name).suffix}"

    @property
    def numbers(self) -> list[int]:
        return list(range(self.frames) if self.shows is None else self.shows)


def write(path: Path, recipe: Recipe) -> None:
    """Encode a recipe's frames."""
    import av

    with av.open(str(path), "w", options={**recipe.container_options}) as container:
        stream = container.add_stream(recipe.codec, rate=Fraction(FPS), options=recipe.options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, _ = recipe.draw(frame(0)).shape
        stream.pix_fmt = recipe.pix_fmt
        stream.codec_context.thread_count = 1
        if recipe.times is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        for number in range(recipe.frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(recipe.draw(frame(number))), format="rgb24")
            picture.pts = number if recipe.times is None else recipe.times(number)
            picture.time_base = stream.codec_context.time_base if recipe.times is not None else Fraction(1, FPS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    recipe.change(path)


def remux(
    path: Path,
    target: Path,
    keep: Callable[[Any, int], bool] = lambda packet, number: True,
    shift: int = 0,
    **options: str,
) -> None:
    """Copy the packets of a file into another container, shifted by frames of the constant rate."""
    import av

    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as out:
        stream: Any = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets: list[Any] = [packet for packet in source.demux(stream) if packet.size]
        for number, packet in enumerate(packets):
            if not keep(packet, number):
                continue
            ticks = int(shift / FPS / stream.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = copy
            out.mux(packet)


def doubled(path: Path) -> None:
    """Give every two frames one time, as coarse time bases do."""
    whole = path.with_name(f"whole-{path.name}")
    path.rename(whole)

    def pair(packet: Any, number: int) -> bool:
        packet.pts = packet.dts = number // 2 * 80  # matroska counts milliseconds
        return True

    remux(whole, path, pair)
    whole.unlink()


def cut(start: int, end: int = 10**9) -> Callable[[Path], None]:
    """Cut without re-encoding: packets from the key frame before on, and an edit list that hides those before.

    ``end`` is the number of a key frame, or beyond the last frame.
    """

    def change(path: Path) -> None:
        import av

        whole = path.with_name(f"whole-{path.name}")
        path.rename(whole)
        with av.open(str(whole)) as source:
            packets: list[Any] = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        keys = {round(p.pts * p.time_base * FPS): number for number, p in enumerate(packets) if p.is_keyframe}
        first = max(number for at, number in keys.items() if at <= start)
        last = keys.get(end, len(packets))
        remux(whole, path, lambda packet, number: first <= number < last, -start, avoid_negative_ts="disabled")
        whole.unlink()

    return change


def matrix(a: int, b: int, c: int, d: int) -> Callable[[Path], None]:
    """Set the display matrix of an mp4's video track."""

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 4
        at += 40 if data[at] == 0 else 52
        one = 1 << 16
        data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
        path.write_bytes(bytes(data))

    return change


def cropped(left: int) -> Callable[[Path], None]:
    """Say in an H.264 stream that the first columns of what is coded are not shown."""

    def change(path: Path) -> None:
        import av

        whole = path.with_name(f"whole-{path.name}")
        path.rename(whole)
        with av.open(str(whole)) as source, av.open(str(path), "w") as out:
            stream: Any = source.streams.video[0]
            copy = out.add_stream_from_template(stream)
            crop = av.BitStreamFilterContext(f"h264_metadata=crop_left={left}", stream, copy)
            for packet in source.demux(stream):
                for each in crop.filter(packet if packet.size else None):
                    each.stream = copy
                    out.mux(each)
        whole.unlink()

    return change


def damage(path: Path) -> None:
    """Overwrite what is coded of the frames in the middle, but nothing that says where frames are."""
    import av

    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        places = [(packet.pos + 8, packet.size - 8) for packet in packets[20:25]]
    data = bytearray(path.read_bytes())
    for start, size in places:
        data[start : start + size] = bytes([0x55]) * size
    path.write_bytes(data)


def x264(**parameters: object) -> dict[str, str]:
    """Return options for libx264."""
    text = ":".join(f"{name.replace('_', '-')}={value}" for name, value in parameters.items())
    return {"preset": "veryfast", "x264-params": f"threads=1:scenecut=0:{text}"}


def x265(parameters: str) -> dict[str, str]:
    """Return options for libx265, whose groups of pictures are open by default."""
    text = f"log-level=none:pools=1:frame-threads=1:scenecut=0:{parameters}"
    return {"preset": "ultrafast", "x265-params": text}


VP9 = {"g": "30", "deadline": "realtime", "cpu-used": "8"}
ALT_REF = {"g": "40", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}
AV1 = {"g": "30", "preset": "6", "crf": "12"}

RECIPES = [
    Recipe("h264.mp4", options=x264(keyint=30, bframes=3)),
    Recipe("h264.mkv", options=x264(keyint=30, bframes=3, b_pyramid="strict")),
    Recipe("h264.mov", options=x264(keyint=12, bframes=2)),
    Recipe("h264.avi", options=x264(keyint=30, bframes=3)),
    Recipe("h264_nob.avi", options=x264(keyint=30, bframes=0)),
    Recipe("h264.flv", options=x264(keyint=30, bframes=3)),
    Recipe("h264.ts", options=x264(keyint=30, bframes=3)),
    Recipe("h264_1gop.mp4", options=x264(keyint=999, bframes=3)),
    Recipe("h264_g1.mp4", options=x264(keyint=1, bframes=0)),
    Recipe("h264_g3.mp4", options=x264(keyint=3, bframes=2)),
    Recipe("h264_g2.mp4", options=x264(keyint=2, bframes=1, min_keyint=1)),
    Recipe("h264_open.mp4", options=x264(keyint=30, bframes=3, open_gop=1)),
    Recipe("h264_open.mkv", options=x264(keyint=30, bframes=3, open_gop=1)),
    Recipe("h264_open.ts", options=x264(keyint=30, bframes=3, open_gop=1)),
    Recipe("h264_refresh.mp4", options=x264(keyint=30, bframes=0, intra_refresh=1)),
    Recipe("h264_il.mp4", options=x264(keyint=30, bframes=2, interlaced=1)),
    Recipe("h264_vfr.mp4", options=x264(keyint=30, bframes=2), times=lambda i: 4 * i + (i % 3)),
    Recipe("h264_gap.mkv", options=x264(keyint=30, bframes=2), times=lambda i: 4 * i + (500 if i > 60 else 0)),
    Recipe("h264_doubled.mkv", options=x264(keyint=30, bframes=0), change=doubled),
    Recipe("h264_late.mp4", options=x264(keyint=30, bframes=2), times=lambda i: 4 * i + 300),
    Recipe(
        "h264_frag.mp4", options=x264(keyint=30, bframes=2), container_options={"movflags": "frag_keyframe+empty_moov"}
    ),
    Recipe("hevc_closed.mp4", codec="libx265", options=x265("keyint=30:open-gop=0:bframes=3")),
    Recipe("hevc_open.mp4", codec="libx265", options=x265("keyint=30:bframes=3")),
    Recipe("hevc_open.mkv", codec="libx265", options=x265("keyint=30:bframes=3")),
    Recipe("hevc_radl.mp4", codec="libx265", options=x265("keyint=30:bframes=3:open-gop=0:radl=2")),
    Recipe("vp8.webm", codec="libvpx", options=VP9),
    Recipe("vp8_alt.webm", codec="libvpx", options=ALT_REF),
    Recipe("vp9.webm", codec="libvpx-vp9", options=VP9),
    Recipe("vp9_alt.webm", codec="libvpx-vp9", options=ALT_REF),
    Recipe("vp9.mp4", codec="libvpx-vp9", options=VP9),
    Recipe("av1.mp4", codec="libsvtav1", options=AV1),
    Recipe("av1.mkv", codec="libsvtav1", options=AV1),
    Recipe("mpeg4.avi", codec="mpeg4", options={"g": "30"}),
    Recipe("mpeg4_bf.avi", codec="mpeg4", options={"g": "30", "bf": "2"}),
    Recipe("mpeg4_bf.mp4", codec="mpeg4", options={"g": "30", "bf": "2"}),
    Recipe("mpeg4_bf.mkv", codec="mpeg4", options={"g": "30", "bf": "2"}),
    Recipe("mpeg1.mpg", codec="mpeg1video", options={"g": "15", "bf": "2"}),
    Recipe("mpeg2.mpg", codec="mpeg2video", options={"g": "15", "bf": "2"}),
    Recipe("mpeg2.mp4", codec="mpeg2video", options={"g": "15", "bf": "2"}),
    Recipe("mpeg2.ts", codec="mpeg2video", options={"g": "15", "bf": "2"}),
    Recipe("mpeg2.mkv", codec="mpeg2video", options={"g": "15", "bf": "2"}),
    Recipe("wmv2.wmv", codec="wmv2", options={"g": "30"}),
    Recipe("wmv1.asf", codec="wmv1", options={"g": "30"}),
    Recipe("msmpeg4.avi", codec="msmpeg4", options={"g": "30"}),
    Recipe("flv1.flv", codec="flv", options={"g": "30"}),
    Recipe("mjpeg.avi", codec="mjpeg", pix_fmt="yuvj420p"),
    Recipe("mjpeg.mov", codec="mjpeg", pix_fmt="yuvj420p"),
    Recipe("prores.mov", codec="prores_ks", pix_fmt="yuv422p10le"),
    Recipe("ffv1.mkv", codec="ffv1", options={"g": "12"}),
    Recipe("huffyuv.avi", codec="huffyuv", pix_fmt="yuv422p"),
    Recipe("h264_cut.mp4", options=x264(keyint=30, bframes=3), change=cut(50), shows=range(50, 120)),
    Recipe("h264_cut2.mov", options=x264(keyint=30, bframes=3), change=cut(50, 90), shows=range(50, 90)),
    Recipe("hevc_cut.mp4", codec="libx265", options=x265("keyint=30:bframes=3"), change=cut(50), shows=range(50, 120)),
    Recipe(
        "av1_cut.mp4",
        codec="libsvtav1",
        options=AV1,
        times=lambda i: 4 * (i - 50),
        container_options={"avoid_negative_ts": "disabled"},
        shows=range(50, 120),
    ),
    Recipe("mpeg4_cut.mp4", codec="mpeg4", options={"g": "30", "bf": "2"}, change=cut(50), shows=range(50, 120)),
    Recipe("vp9_cut.mp4", codec="libvpx-vp9", options=VP9, change=cut(50), shows=range(50, 120)),
    Recipe(
        "crop.mp4",
        options=x264(keyint=30, bframes=2),
        draw=lambda p: np.pad(p, ((0, 0), (16, 0), (0, 0))),
        change=cropped(16),
    ),
    Recipe("rot90.mp4", options=x264(keyint=30), draw=lambda p: np.rot90(p), change=matrix(0, 1, -1, 0)),
    Recipe("rot180.mp4", options=x264(keyint=30), draw=lambda p: np.rot90(p, 2), change=matrix(-1, 0, 0, -1)),
    Recipe("rot270.mp4", options=x264(keyint=30), draw=lambda p: np.rot90(p, 3), change=matrix(0, -1, 1, 0)),
    Recipe("hflip.mp4", options=x264(keyint=30), draw=lambda p: p[:, ::-1], change=matrix(-1, 0, 0, 1)),
    Recipe("vflip.mp4", options=x264(keyint=30), draw=lambda p: p[::-1], change=matrix(1, 0, 0, -1)),
    Recipe("transpose.mp4", options=x264(keyint=30), draw=lambda p: p.transpose(1, 0, 2), change=matrix(0, 1, 1, 0)),
    Recipe(
        "antitranspose.mp4",
        options=x264(keyint=30),
        draw=lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        change=matrix(0, -1, -1, 0),
    ),
]

if __name__ == "__main__":
    folder, *names = sys.argv[1:]
    for each in RECIPES:
        if not names or each.name in names:
            write(Path(folder) / each.file, each)
