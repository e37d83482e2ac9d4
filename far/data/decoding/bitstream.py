"""What the first bytes of coded frames say: whether decoding may start there, and whether a packet is one shown frame.

Containers mark key frames, but mean different things by it: an H.264 "key frame" may be one after which frames still
refer to what came before. The standards' own marks are read instead: H.264 (ITU-T H.264, 7.3.1 and D.1.8), HEVC (H.265,
7.3.1.2), MPEG-4 part 2 (ISO/IEC 14496-2, 6.2.5), MPEG-2 (H.262, 6.2.3), VP8 (RFC 6386, 9.1), VP9 (bitstream
specification, 6.2 and annex B), AV1 (bitstream specification, 5.9.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

INTRA_ONLY = frozenset(
    (
        "mjpeg",
        "prores",
        "png",
        "huffyuv",
        "ffvhuff",
        "rawvideo",
        "dnxhd",
        "dvvideo",
        "utvideo",
        "v210",
        "jpeg2000",
        "qtrle",
    )
)
"""Codecs, by FFmpeg's names, whose every frame stands for itself (where the container marks it a key frame)."""


def starts_clean(codec: str, extradata: bytes, packet: bytes) -> bool:
    """Return whether every frame shown from this packet's on decodes without anything before it.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: the stream's, which says how H.264 and HEVC packets are divided.
        packet: of a frame that the container calls a key frame.
    """
    check = _STARTS.get(codec)
    return codec in INTRA_ONLY if check is None else check(extradata, packet)


def is_closed(codec: str, extradata: bytes, packet: bytes) -> bool:
    """Return whether nothing that is coded after a key frame that ``starts_clean`` refers to what is before it.

    Elsewhere frames that are coded after the key frame and shown before it (leading pictures) may do so.
    """
    if codec == "h264":
        return any(unit[0] & 31 == 5 for unit in _units(extradata, packet, lengths_at=4))
    if codec == "hevc":
        kinds = [unit[0] >> 1 & 63 for unit in _units(extradata, packet, lengths_at=21)]
        return next((kind in (19, 20) for kind in kinds if kind < 32), False)
    return True


def is_one_frame(codec: str, packet: bytes) -> bool:
    """Return whether a packet is known to be one frame that is shown: neither hidden, nor skipped, nor several."""
    if codec == "vp8":
        return bool(packet[0] >> 4 & 1)
    if codec == "vp9":
        return packet[-1] & 0xE0 == 0xC0 or _vp9_shown(packet)
    if codec == "mpeg4":
        return len(packet) > _SKIPPED_FRAME and packet.count(b"\0\0\1\xb6") == 1
    return codec in ("h264", "hevc", "av1") or codec in INTRA_ONLY


_SKIPPED_FRAME = 16
"""Bytes up to which an MPEG-4 packet may be a "not coded" frame, which decoders pass over."""


def _units(extradata: bytes, packet: bytes, lengths_at: int) -> Iterator[bytes]:
    """Yield the NAL units of a packet: behind start codes, or behind lengths as the configuration record says."""
    if extradata[:1] != b"\1":
        for part in packet.split(b"\0\0\1")[1:]:
            if part:
                yield part
        return
    width = (extradata[lengths_at] & 3) + 1 if len(extradata) > lengths_at else 4
    position = 0
    while position + width < len(packet):
        size = int.from_bytes(packet[position : position + width], "big")
        yield packet[position + width : position + width + size]
        position += width + size


def _h264(extradata: bytes, packet: bytes) -> bool:
    for unit in _units(extradata, packet, lengths_at=4):
        kind = unit[0] & 31
        if kind == 5 or (kind == 6 and _exact_recovery(unit)):
            return True
        if kind == 1:
            return False
    return False


def _exact_recovery(unit: bytes) -> bool:
    """Return whether an SEI unit is a recovery point with no frame to wait for and an exact match from there on."""
    kind = size = 0
    position = 1
    while position < len(unit) and unit[position] == 255:
        kind, position = kind + 255, position + 1
    if position >= len(unit):
        return False
    kind, position = kind + unit[position], position + 1
    while position < len(unit) and unit[position] == 255:
        size, position = size + 255, position + 1
    payload = unit[position + 1 :]
    return kind == 6 and len(payload) > 0 and payload[0] & 0xC0 == 0xC0


def _hevc(extradata: bytes, packet: bytes) -> bool:
    kinds = [unit[0] >> 1 & 63 for unit in _units(extradata, packet, lengths_at=21)]
    return next((16 <= kind <= 21 for kind in kinds if kind < 32), False)


def _vp9_header(packet: bytes) -> tuple[bool, bool, bool]:
    """Return whether a frame shows an existing one, whether it is a key frame, and whether it is shown."""
    bits = f"{int.from_bytes(packet[:2].ljust(2, bytes(1)), 'big'):016b}"
    profile = int(bits[3]) * 2 + int(bits[2])
    rest = bits[5:] if profile == 3 else bits[4:]
    return rest[0] == "1", rest[1] == "0", rest[2] == "1"


def _vp9_shown(packet: bytes) -> bool:
    existing, _, shown = _vp9_header(packet)
    return existing or shown


def _vp9(extradata: bytes, packet: bytes) -> bool:
    existing, key, _ = _vp9_header(packet)
    return key and not existing


def _av1(extradata: bytes, packet: bytes) -> bool:
    """Look for a shown key frame among the packet's OBUs."""
    position = 0
    while position < len(packet):
        header = packet[position]
        position += 2 if header >> 2 & 1 else 1
        size, shift = 0, 0
        if not header >> 1 & 1:
            size = len(packet) - position
        else:
            while position < len(packet):
                byte = packet[position]
                size, shift, position = size | (byte & 127) << shift, shift + 7, position + 1
                if not byte & 128:
                    break
        if header >> 3 & 15 in (3, 6) and position < len(packet):
            return packet[position] & 0xF0 == 0x10  # show_existing_frame 0, frame_type 00, show_frame 1
        position += size
    return False


def _after(code: bytes) -> Callable[[bytes], bytes]:
    return lambda packet: packet.partition(code)[2]


def _mpeg4(extradata: bytes, packet: bytes) -> bool:
    frame = _after(b"\0\0\1\xb6")(packet)
    return bool(frame) and frame[0] >> 6 == 0


def _mpeg2(extradata: bytes, packet: bytes) -> bool:
    picture = _after(b"\0\0\1\0")(packet)
    return len(picture) > 1 and picture[1] >> 3 & 7 == 1


_STARTS: dict[str, Callable[[bytes, bytes], bool]] = {
    "h264": _h264,
    "hevc": _hevc,
    "vp8": lambda extradata, packet: not packet[0] & 1,
    "vp9": _vp9,
    "av1": _av1,
    "mpeg4": _mpeg4,
    "mpeg1video": _mpeg2,
    "mpeg2video": _mpeg2,
}
