"""Text and JSON files that users bring, read such that whatever is wrong with them is named by file and line."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from far.data.sources.tree import unusable
from far.errors import DataError

_BLANKS = re.compile(r"[ \t\r\n]*")


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: it cannot be read, or is in another encoding.
    """
    if why := unusable(path):  # a pipe would never end
        raise DataError(f"{path}: {why} where a file is needed")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}:1: in UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(lines_of(data[: error.start].decode("utf-8-sig", "replace")))
        raise DataError(
            f"{path}:{line}: not in UTF-8 (byte 0x{error.object[error.start]:02x}); "
            "save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8, if that is what it is)"
        ) from None
    if "\0" in text:
        line = len(lines_of(text[: text.index("\0")]))
        raise DataError(f"{path}:{line}: holds a zero byte, so it is no text in UTF-8")
    return text


def lines_of(text: str) -> list[str]:
    """Return the lines of a text as an editor numbers them: by CR LF, LF or CR, and by nothing else."""
    return re.split(r"\r\n|\n|\r", text)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file in UTF-8.

    Raises:
        DataError: see ``read_text``.
    """
    return lines_of(read_text(path))


def read_json_list(path: Path) -> list[tuple[int, Any]]:
    """Return the items of a JSON array, each with the line where it begins.

    Raises:
        DataError: the file cannot be read, is not JSON, or holds something else.
    """
    text = read_text(path)
    content = _parsed(text, path)
    if not isinstance(content, list):
        raise DataError(f"{path}:1: expected a list, [...], not {_kind(content)}")
    return list(_items(text, len(content), path))


def _items(text: str, count: int, path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the items of an array, each with its line."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_doubles)
    line, counted, position = 1, 0, text.index("[") + 1
    for _ in range(count):
        start = _after_blanks(text, position)
        line += text.count("\n", counted, start)
        counted = start
        try:
            item, end = decoder.raw_decode(text, start)
        except ValueError as error:
            raise DataError(f"{path}:{line}: {error}") from None
        yield line, item
        position = _after_blanks(text, end) + 1


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("one key is there twice in one object")
    return members


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position


def read_json_object(path: Path) -> list[tuple[int, str, Any]]:
    """Return the line, key and value of each member of a flat JSON object.

    Raises:
        DataError: the file cannot be read, is not JSON, or holds something else.
    """
    text = read_text(path)
    content = _parsed(text, path)
    if not isinstance(content, dict):
        raise DataError(f"{path}:1: expected an object, {{...}}, not {_kind(content)}")
    members, position = [], 0
    for key, value in json.loads(text, object_pairs_hook=list):  # keeps a key that is there twice
        found = text.find(json.dumps(key, ensure_ascii=False), position)  # -1 where it is written with escapes
        position = max(position, found)
        members.append((text.count("\n", 0, position) + 1, key, value))
    return members


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested as deep
        raise DataError(f"{path}: not valid JSON: {error}") from None


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
