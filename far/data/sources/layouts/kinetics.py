"""Kinetics-400 as distributed."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from far.data.sources.diagnostics import Diagnostics, one_line
from far.data.sources.layouts.by_name import FilesByName
from far.data.sources.listing import Listed, Listing, need_videos, split_of
from far.data.sources.texts import lines_of, read_text
from far.data.sources.tree import read_tree
from far.errors import DataError

_NEEDED = ("youtube_id", "time_start", "time_end")
_COLUMNS = ("label", *_NEEDED, "split")
_CLIP = re.compile(r"(.+)_([0-9]+)_([0-9]+)")


@dataclass(frozen=True)
class _Row:
    """One line of a list: what is listed, where, and in which split."""

    place: str
    split: str
    name: str
    label: str


def read_kinetics(root: Path, diagnostics: Diagnostics) -> Listing:
    """Read lists with label, youtube_id, time_start, time_end, split; videos are ``<id>_<start>_<end>.mp4``.

    Class folders, split folders or none: files are found by name. Times are padded to six digits, or not.
    """
    tree = read_tree(root, diagnostics)
    rows = [row for path in tree.lists if path.suffix.lower() == ".csv" for row in _read_list(path, diagnostics)]
    diagnostics.check()
    labels = sorted({row.label for row in rows if row.label})
    numbers = {name: number for number, name in enumerate(labels)}
    files = FilesByName(tree, ".mp4", diagnostics, _padded)
    seen: dict[tuple[str, str], _Row] = {}
    videos = []
    for row in rows:
        first = seen.setdefault((row.split, row.name), row)
        if first is row:
            number = numbers.get(row.label, -1)
            videos.append(Listed(row.name, row.split, number, files.find(row.name), row.place, f"{row.name}.mp4"))
        elif first.label == row.label:
            diagnostics.warn("clips listed again, used once", row.place)
        else:
            other = f"{first.place} '{one_line(first.label)}', {row.place} '{one_line(row.label)}'"
            diagnostics.warn("clips listed with two labels, of which the first is used", other)
    need_videos(videos, diagnostics, f"a list with the columns {', '.join(_COLUMNS)}")
    files.warn_of_unlisted()
    return Listing(videos, labels, several=files.several, warnings=diagnostics.warnings)


def _read_list(path: Path, diagnostics: Diagnostics) -> Iterator[_Row]:
    """Yield the rows of a list; a table of something else has none."""
    try:
        text = read_text(path)
    except DataError:
        if b"youtube_id" in path.read_bytes().replace(b"\0", b"").lower():
            raise
        diagnostics.warn("tables that are no lists of Kinetics, not read", diagnostics.place(path))
        return
    head, *lines = lines_of(text)
    delimiter = max(",;\t", key=head.count)
    columns = [name.strip().strip('"').strip().lower() for name in head.split(delimiter)]
    if not set(_NEEDED) <= set(columns):
        diagnostics.warn("tables that are no lists of Kinetics, not read", diagnostics.place(path))
        return
    list_name = diagnostics.place(path)
    for number, line in enumerate(lines, start=2):
        if line.strip():
            place = f"{list_name}:{number}"
            row = _row(line, delimiter, columns, path.stem, place)
            if isinstance(row, str):
                diagnostics.error(place, row)
            else:
                yield row


def _row(line: str, delimiter: str, columns: list[str], list_name: str, place: str) -> _Row | str:
    """Return what a line lists, or what is wrong with it."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        return f"{error}, in '{one_line(line)}'"
    cells = [cell.strip() for cell in cells]
    row = dict(zip(columns, cells, strict=False))
    if any(cells[len(columns) :]) or not all(row.get(name) for name in _NEEDED):
        return f"expected the columns {', '.join(columns)}, got '{one_line(line)}'"
    start, end = _seconds(row["time_start"]), _seconds(row["time_end"])
    if start is None or end is None:
        return f"times must be seconds, not '{one_line(row['time_start'])}' and '{one_line(row['time_end'])}'"
    named = row.get("split") or list_name
    split = _split(named)
    if split is None:
        return f"no split is called '{one_line(named)}'; expected train, validate or test"
    return _Row(place, split, f"{row['youtube_id']}_{start:06d}_{end:06d}", row.get("label", ""))


def _seconds(text: str) -> int | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return int(seconds) if math.isfinite(seconds) and 0 <= seconds < 1e9 else None


def _split(name: str) -> str | None:
    return split_of(name.lower().removeprefix("kinetics_400_").removeprefix("k400_"))


def _padded(stem: str) -> str:
    match = _CLIP.fullmatch(stem)
    return f"{match[1]}_{int(match[2]):06d}_{int(match[3]):06d}" if match else stem
