"""The ancestors' lists: a file for each split, a path and a label in each line."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from far.data.sources.diagnostics import Diagnostics, counted, one_line, some
from far.data.sources.listing import SPLITS, Listed, Listing, need_videos, split_of
from far.data.sources.texts import read_lines
from far.data.sources.tree import NO_VIDEO, VIDEO_SUFFIXES, is_file, unusable
from far.errors import DataError

MOST_EMPTY = 10
"""Classes to each class with videos, of at least a hundred, above which numbers are taken to be something else."""
_BACKWARDS = re.compile(r"""["']?([0-9]+-?)["']?[\s,;]+(.+)""")
"""A line from its end, so that a long one takes no longer than its length: label, separators, path."""
_COLUMNS = re.compile(rf".+\.(?:{'|'.join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES))})[\s,;].*", re.IGNORECASE)
_DIGITS = 18
_NUMBERED = re.compile(r"([0-9]{1,9})[\s,;:.)]+\D")


def read_path_lists(root: Path, diagnostics: Diagnostics) -> Listing:
    """Read ``train.csv``, ``val.csv``, ``test.csv`` (or ``.txt``) of ``path label`` lines, no header.

    A path is absolute or relative to its list, and may hold spaces; a line without a label is an unlabelled video. A
    ``labels.txt`` names the classes, line n class n. A video is called by its relative path; where that is absolute, by
    its file's name, or, if that is not unique, by its path below the folder that holds all of them.
    """
    lists, files = _lists(root, diagnostics), _Files()
    videos: list[Listed] = []
    for split in SPLITS:
        for number, line in enumerate(read_lines(lists[split]) if split in lists else (), start=1):
            line = line.strip().strip("\ufeff").strip()
            place = f"{one_line(lists[split].name)}:{number}"
            video = _listed(line, split, lists[split], place, files, diagnostics)
            videos += [video] if video else []
    diagnostics.check()
    need_videos(videos, diagnostics, "train.csv")
    return Listing(_told_apart(videos), _labels(root, videos, diagnostics), warnings=diagnostics.warnings)


def _lists(root: Path, diagnostics: Diagnostics) -> dict[str, Path]:
    """Return the list of each split."""
    lists: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if path.suffix.lower() not in (".csv", ".txt") or path.name == "labels.txt":
            continue
        split = split_of(path.stem)
        if why := unusable(path):
            diagnostics.warn(f"not a list, but {why}", diagnostics.place(path))
        elif split is None:
            diagnostics.warn("files that are no list of a split, not read", diagnostics.place(path))
        elif split in lists and path.read_bytes() != lists[split].read_bytes():
            names = f"{lists[split].name} and {path.name}"
            raise DataError(f"{root}: two lists of the split '{split}', which differ: {names}; keep one of them there")
        else:
            lists.setdefault(split, path)
    return lists


def _listed(line: str, split: str, path: Path, place: str, files: _Files, diagnostics: Diagnostics) -> Listed | None:
    """Return what a line lists, None if it is empty, or cannot be understood."""
    match = _BACKWARDS.fullmatch(line[::-1])
    written, digits = (match[2][::-1], match[1][::-1]) if match else (line, "-1")
    if not line:
        return None
    if len(digits) > _DIGITS or int(digits) < -1:
        diagnostics.error(place, f"{one_line(digits)} is no label: classes are numbered from 0, and -1 is unlabelled")
        return None
    name, found = files.find(path.parent, written)
    if len(found) > 1:
        names = " and ".join(one_line(file.name) for file in found)
        diagnostics.error(place, f"several files are called '{one_line(name)}': {names}; write which")
        return None
    is_labelled = match is not None
    if not found and _is_misread(written, path.parent, files, is_labelled=is_labelled):
        diagnostics.error(place, f"expected `path label`, got '{one_line(line)}'{_hint(line, is_labelled=is_labelled)}")
        return None
    file = path.parent / name
    if not found and (why := unusable(file)):
        diagnostics.warn(f"{NO_VIDEO}, but {why}; missing", place)
    others = "" if file.suffix.lower() in VIDEO_SUFFIXES else " with any suffix of a video"
    sought = f"{one_line(str(file))}{others}"
    return Listed(_identifier(name, found), split, int(digits), found[0] if found else None, place, sought)


def _hint(line: str, *, is_labelled: bool) -> str:
    """Return what would be right in place of a line, where that can be guessed."""
    if "youtube_id" in line:
        return "; this seems to be a list of the layout k400"
    if is_labelled:
        return "; leave out what stands between path and label"
    if _COLUMNS.fullmatch(line):
        return "; a label is the number of a class, from 0 (labels.txt names them)"
    return "; there is no header in this layout"


def _is_misread(written: str, folder: Path, files: _Files, *, is_labelled: bool) -> bool:
    """Return whether what is no file cannot be a path either: a header, a class's name, a column too many."""
    if not Path(written).name:
        return True
    if Path(written).suffix.lower() in VIDEO_SUFFIXES:
        return False
    columns = _BACKWARDS.fullmatch(written[::-1])
    return not is_labelled or bool(_COLUMNS.fullmatch(written) or (columns and files.find(folder, columns[2][::-1])[1]))


def _identifier(name: str, found: list[Path]) -> str:
    whole = Path(name)
    suffixed = whole.suffix.lower() in VIDEO_SUFFIXES or any(file.name == whole.name for file in found)
    return (whole.with_suffix("") if suffixed else whole).as_posix()


class _Files:
    """Files as lists write them: as they are, in quotes, with backslashes or other accents, or without their suffix."""

    def __init__(self) -> None:
        self._stems: dict[Path, dict[str, list[Path]]] = {}

    def find(self, folder: Path, written: str) -> tuple[str, list[Path]]:
        """Return how a path is spelled right, and the files that it may be; several only without a suffix."""
        plain = written[1:-1].replace('""', '"') if written[:1] == written[-1:] in ('"', "'") else written
        slashed = plain.replace("\\", "/")
        composed = (unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))  # macOS decomposes accents
        spellings = list(dict.fromkeys([written, plain, slashed, *composed]))
        for name in spellings:
            if is_file(folder / name):
                return name, [folder / name]
        for name in spellings:
            if Path(name).suffix.lower() not in VIDEO_SUFFIXES and (found := self._by_stem(folder / name)):
                return name, found
        return slashed, []

    def _by_stem(self, path: Path) -> list[Path]:
        if path.parent not in self._stems:
            stems = self._stems[path.parent] = defaultdict(list)
            try:
                entries = sorted(path.parent.iterdir())
            except (OSError, ValueError):
                entries = []
            for file in entries:
                if file.suffix.lower() in VIDEO_SUFFIXES and is_file(file):
                    stems[file.stem].append(file)
        return self._stems[path.parent].get(path.name, [])


def _told_apart(videos: list[Listed]) -> list[Listed]:
    """Shorten the ids that are absolute paths, so that they are the same on another machine."""
    paths = {Path(video.id) for video in videos if Path(video.id).is_absolute()}
    if len({path.name for path in paths}) == len(paths):
        short = {path.as_posix(): path.name for path in paths}
    else:
        top = os.path.commonpath([path.parent for path in paths])
        short = {path.as_posix(): path.relative_to(top).as_posix() for path in paths}
    return [replace(video, id=short.get(video.id, video.id)) for video in videos]


def _labels(root: Path, videos: list[Listed], diagnostics: Diagnostics) -> list[str]:
    """Return the names of the classes: those in ``labels.txt``, else their numbers."""
    top = max(videos, key=lambda video: video.label)
    used = {video.label for video in videos if video.label >= 0}
    if used and min(used) == 1:
        first = next(video for video in videos if video.label == 1)
        diagnostics.warn("no video has the label 0, the first class; do these labels start at 1?", first.place)
    path = root / "labels.txt"
    names = [name.strip() for name in read_lines(path)] if path.exists() or path.is_symlink() else []
    while names and not names[-1]:
        names.pop()
    if names:
        if "" in names:
            raise DataError(f"{path}:{names.index('') + 1}: an empty line, but line n is to name class n, from 0")
        _warn_of_numbers(path, names, diagnostics)
        if top.label >= len(names):
            raise DataError(
                f"{path} names {counted(len(names), 'class')}, but the lists hold the label {top.label} ({top.place}); "
                "classes are numbered from 0"
            )
        return names
    if top.label >= MOST_EMPTY * max(len(used), 100):
        others = some(str(label) for label in sorted(used - {top.label}))
        raise DataError(
            f"{root}/{top.place}: {top.label} as a label would make {top.label + 1} classes, of which "
            f"{len(used)} have videos{f' ({others}, …)' if others else ''}; if this is the label, not a date or a "
            "number of frames, name the classes in labels.txt"
        )
    return [str(number) for number in range(top.label + 1)]


def _warn_of_numbers(path: Path, names: list[str], diagnostics: Diagnostics) -> None:
    """Warn of names that all begin with a number, another than that of their line, as in UCF101's ``classInd.txt``."""
    numbered = [_NUMBERED.match(name) for name in names]
    for number, match in enumerate(numbered):
        if all(numbered) and match is not None and int(match[1]) != number:
            what = "lines of labels.txt that begin with another number than their own, which is the class's, from 0"
            diagnostics.warn(what, f"{path.name}:{number + 1} '{one_line(names[number])}' names class {number}")
