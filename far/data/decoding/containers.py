"""Whether a file is whole, from the sizes that its container's headers announce: a few reads, no decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class Structure:
    """What the outermost elements of a file say.

    Attributes:
        missing: bytes that the headers announce beyond the end of the file, 0 where it is whole or does not say.
        fragmented: whether it is an MP4 in fragments.
    """

    missing: int = 0
    fragmented: bool = False


def structure(path: Path) -> Structure:
    """Read a file's outermost headers.

    MP4/MOV (ISO/IEC 14496-12, 4.2), Matroska/WebM (RFC 9559), AVI (RIFF, OpenDML), MPEG transport and program streams
    (ISO/IEC 13818-1, 2.4.3.2 and 2.5.3), FLV (Adobe's specification 10.1, annex E), ASF/WMV (Microsoft's specification,
    3.2), Ogg (RFC 3533). Of anything else nothing is said.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return Structure(_matroska(stream, size))
        if head[:4] in (b"RIFF", b"AVIX"):
            return Structure(_riff(stream, size))
        if head[4:8] in _BOXES:
            return _mp4(stream, size)
        if head[:3] == b"FLV":
            return Structure(_flash(stream, size, int.from_bytes(head[5:9], "big")))
        if head == _ASF_HEADER[:12]:
            return Structure(_asf(stream, size))
        if head[:4] == b"OggS":
            return Structure(_ogg(stream, size))
        if head[:4] == b"\0\0\1\xba":
            return Structure(_program_stream(stream, size))
        for length, sync in ((188, 0), (192, 4), (204, 0)):
            if _is_transport_stream(stream, length, sync):
                return Structure(-size % length)
    return Structure()


_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx", b"moof")


def _mp4(stream: BinaryIO, size: int) -> Structure:
    position, fragmented, missing = 0, False, 0
    while position < size:
        stream.seek(position)
        head = stream.read(16)
        if len(head) < 8:
            return Structure(8 - len(head), fragmented)
        length = int.from_bytes(head[:4], "big")
        fragmented |= head[4:8] == b"moof"
        if length == 0:  # to the end of the file
            break
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # no box: padding, or what some cameras append
            break
        position += length
        missing = max(position - size, 0)
    return Structure(missing, fragmented)


def _matroska(stream: BinaryIO, size: int) -> int:
    position = 0
    while position < size:
        stream.seek(position)
        head = stream.read(12)
        name, body = _vint(head, 0, marker=True)
        length, start = _vint(head, body, marker=False)
        if name == _SEGMENT and length is None:
            return _clusters(stream, position + start, size)
        if name not in (_EBML, _SEGMENT, _VOID) or length is None:
            return 0
        position += start + length
    return position - size


_EBML, _SEGMENT, _VOID, _CLUSTER = 0x1A45DFA3, 0x18538067, 0xEC, 0x1F43B675


def _clusters(stream: BinaryIO, position: int, size: int) -> int:
    """Return the bytes missing at the end of a segment of unknown length, as live recorders write it."""
    while position < size:
        stream.seek(position)
        head = stream.read(12)
        name, body = _vint(head, 0, marker=True)
        length, start = _vint(head, body, marker=False)
        if name is None:
            return 0
        position += start
        if length is not None:
            position += length
        elif name != _CLUSTER:
            return 0
    return position - size


def _vint(data: bytes, at: int, *, marker: bool) -> tuple[int | None, int]:
    """Return an EBML variable-size integer, None if it is unknown or cut off, and where it ends."""
    if at >= len(data) or not data[at]:
        return None, at + 1
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big")
    if len(data) < at + width:
        return None, at + width
    if not marker:
        value &= (1 << 7 * width) - 1
        if value == (1 << 7 * width) - 1:
            return None, at + width
    return value, at + width


def _riff(stream: BinaryIO, size: int) -> int:
    position = 0
    while position < size:
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8 or head[:4] not in (b"RIFF", b"JUNK"):
            return 0
        length: int = struct.unpack("<I", head[4:])[0]
        if not length:  # never closed by its writer
            return 0
        position += 8 + length + length % 2
    return position - size if position - size > 1 else 0


def _flash(stream: BinaryIO, size: int, position: int) -> int:
    while position + 4 < size:  # each tag follows the size of the one before
        stream.seek(position + 4)
        head = stream.read(4)
        if head[:1] not in (b"\x08", b"\x09", b"\x12"):
            return 0
        position += 4 + 11 + int.from_bytes(head[1:4], "big")
    return max(position - size, 0)


_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _asf(stream: BinaryIO, size: int) -> int:
    stream.seek(0)
    header = stream.read(1 << 16)
    position = header.find(_ASF_FILE_PROPERTIES)
    properties = header[position : position + 92] if position >= 0 else b""
    if len(properties) < 92 or properties[88] & 1:  # broadcast: the sizes are not valid
        return 0
    return max(int.from_bytes(properties[40:48], "little") - size, 0)


def _ogg(stream: BinaryIO, size: int) -> int:
    """Return the bytes that the last page lacks."""
    tail = min(size, 1 << 17)  # a page has less than 64 KiB
    stream.seek(size - tail)
    data = stream.read(tail)
    position = data.rfind(b"OggS")
    if position < 0 or position + 27 > len(data):
        return 27
    segments = data[position + 27 : position + 27 + data[position + 26]]
    return max(position + 27 + data[position + 26] + sum(segments) - len(data), 0)


def _is_transport_stream(stream: BinaryIO, length: int, sync: int) -> bool:
    for number in range(4):
        stream.seek(number * length + sync)
        if stream.read(1) != b"\x47":
            return False
    return True


def _program_stream(stream: BinaryIO, size: int) -> int:
    """Return the bytes that the last packet of a program stream lacks."""
    tail = min(size, 1 << 17)  # a packet has at most 64 KiB
    stream.seek(size - tail)
    data = stream.read(tail)
    position = data.find(b"\0\0\1\xba")
    while 0 <= position < len(data):
        if data[position : position + 3] != b"\0\0\1":
            return 0
        kind = data[position + 3] if position + 3 < len(data) else 0xBA
        if kind == 0xB9:
            position += 4
        elif kind == 0xBA:
            mpeg2 = position + 4 < len(data) and data[position + 4] >> 6 == 1
            position += (14 + (data[position + 13] & 7) if position + 13 < len(data) else 14) if mpeg2 else 12
        else:
            length = int.from_bytes(data[position + 4 : position + 6], "big")
            position += 6 + length
    return max(position - len(data), 0)
