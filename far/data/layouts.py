"""Data sets as they are distributed, read into one listing: which videos there should be, with what label, and where.

A layout only reads lists and folders; it opens no video (``far.data.prepare`` does).
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from far.errors import DataError
from far.registry import Registry

VIDEO_SUFFIXES = frozenset(
    [".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"]
)
SPLITS = {"train": ("train", "training"), "val": ("val", "validation", "validate", "valid"), "test": ("test",)}
"""Our names of the splits, and those that data sets use."""


@dataclass(frozen=True)
class Listed:
    """A video that a data set's lists name.

    Attributes:
        id: as in the lists.
        split: ``train``, ``val`` or ``test``.
        label: class number, -1 where it is secret.
        path: absolute path, or None if no such file was found.
    """

    id: str
    split: str
    label: int
    path: Path | None


@dataclass(frozen=True)
class Listing:
    """What a data set should hold.

    Attributes:
        videos: in the order of the lists.
        labels: names of the classes.
        published: videos by split as its publisher counts them; the lists' own numbers where none are published.
        several: files by id where there are several for one video; the first of them is used.

    Raises:
        DataError: a split lists two videos of one id.
    """

    videos: list[Listed]
    labels: list[str]
    published: dict[str, int] = field(default_factory=dict)
    several: dict[str, list[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: dict[tuple[str, str], Listed] = {}
        for video in self.videos:
            other = seen.setdefault((video.split, video.id), video)
            if other is not video:
                places = f"{other.path} and {video.path}" if other.path != video.path else f"{video.path}, twice"
                raise DataError(f"two videos of split '{video.split}' are called '{video.id}': {places}")
        for split in SPLITS:
            listed = sum(video.split == split for video in self.videos)
            if listed:
                self.published.setdefault(split, listed)


LAYOUTS: Registry[Callable[[Path], Listing]] = Registry("data set layout")
"""Each maps the data set's folder to its listing, or raises ``DataError`` naming what it misses there."""


@LAYOUTS.register("ssv2")
def something_something_v2(root: Path) -> Listing:
    """Something-Something V2: ``[something-something-v2-]{train,validation,test,labels}.json`` and ``<id>.webm``.

    The lists may lie in the folder or in one below it, and so may the videos, also re-encoded. Templates are spelled
    with or without brackets: "Holding [something]" in the lists is "Holding something" in the labels.
    """
    lists = {path.name.removeprefix("something-something-v2-"): path for path in sorted(root.rglob("*.json"))}
    if "labels.json" not in lists:
        raise DataError(f"{root}: neither something-something-v2-labels.json nor labels.json is in it")
    numbers = {_plain(name): int(number) for name, number in _json(lists["labels.json"]).items()}
    labels = [name for name, _ in sorted(numbers.items(), key=lambda item: item[1])]
    if sorted(numbers.values()) != list(range(len(labels))):
        raise DataError(f"{lists['labels.json']}: the class numbers are not 0 to {len(labels) - 1}")
    files = Files(root, distributed=".webm")
    videos = []
    for split, names in SPLITS.items():
        path = next((lists[f"{name}.json"] for name in names if f"{name}.json" in lists), None)
        for entry in _json(path) if path else []:
            label = _ssv2_label(entry, numbers, path)
            videos.append(Listed(str(entry["id"]), split, label, files.find(str(entry["id"]))))
    _need(videos, root, "something-something-v2-train.json")
    return Listing(videos, labels, {"train": 168_913, "val": 24_777, "test": 27_157}, files.several)


def _ssv2_label(entry: dict[str, str], numbers: dict[str, int], path: Path | None) -> int:
    if "template" not in entry:
        return -1
    try:
        return numbers[_plain(entry["template"])]
    except KeyError:
        raise DataError(f"{path}: video {entry['id']}: no class is called '{entry['template']}'") from None


@LAYOUTS.register("k400")
def kinetics_400(root: Path) -> Listing:
    """Kinetics-400: lists with label, youtube_id, time_start, time_end, split; ``<id>_<start>_<end>.mp4`` below.

    Class folders, split folders or none: files are found by name. Times are padded to six digits.
    """
    files, entries = Files(root, distributed=".mp4"), []
    for path in sorted(root.rglob("*.csv")):
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            if {"youtube_id", "time_start", "time_end"} <= set(reader.fieldnames or ()):
                entries += [(path, row) for row in reader]
    names = sorted({row["label"] for _, row in entries if row.get("label")})
    numbers = {name: number for number, name in enumerate(names)}
    seen: dict[tuple[str, str], Listed] = {}
    for path, row in entries:
        split = _split(row.get("split") or path.stem)
        if split is None:
            raise DataError(f"{path}: no split is called '{row.get('split') or path.stem}'")
        try:
            start, end = int(float(row["time_start"])), int(float(row["time_end"]))
        except ValueError:
            raise DataError(f"{path}: {row['youtube_id']}: times are not numbers") from None
        name = f"{row['youtube_id']}_{start:06d}_{end:06d}"
        seen.setdefault((split, name), Listed(name, split, numbers.get(row.get("label", ""), -1), files.find(name)))
    _need(list(seen.values()), root, "a list with the columns label, youtube_id, time_start, time_end, split")
    return Listing(list(seen.values()), names, several=files.several)


@LAYOUTS.register("csv")
def path_label_lists(root: Path) -> Listing:
    """The ancestors' lists: ``train.csv``, ``val.csv``, ``test.csv`` of ``path label`` lines, no header.

    A path is absolute or relative to its list, and may hold spaces; a line without a label is an unlabelled video. A
    ``labels.txt`` names the classes, line n class n. A video is called by its relative path; where that is absolute, by
    its file's name, or, if that does not tell all of them apart, by its path below the folder that holds all of them.
    """
    videos: list[Listed] = []
    for split, names in SPLITS.items():
        path = next((p for name in names for p in (root / f"{name}.csv", root / f"{name}.txt") if p.is_file()), None)
        if path is None:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                videos.append(_listed(line.strip(), split, path, number))
    _need(videos, root, "train.csv")
    videos = _told_apart(videos)
    top = max(video.label for video in videos)
    names_file = root / "labels.txt"
    labels = names_file.read_text(encoding="utf-8").split("\n") if names_file.is_file() else []
    labels = [name.strip() for name in labels if name.strip()] or [str(number) for number in range(top + 1)]
    if top >= len(labels):
        raise DataError(f"{names_file} names {len(labels)} classes, but the lists hold the label {top}")
    return Listing(videos, labels)


def _listed(line: str, split: str, path: Path, number: int) -> Listed:
    match = re.fullmatch(r"(.+?)[\s,]+(-?\d+)", line)
    name, label = (match[1], int(match[2])) if match else (line, -1)
    if match is None and Path(name).suffix.lower() not in VIDEO_SUFFIXES:
        raise DataError(f"{path}:{number}: expected `path label`, got '{line}'")
    file = path.parent / name
    return Listed(Path(name).with_suffix("").as_posix(), split, label, file if file.is_file() else None)


def _told_apart(videos: list[Listed]) -> list[Listed]:
    """Shorten the ids that are absolute paths, so that they are the same on another machine."""
    paths = {Path(video.id) for video in videos if Path(video.id).is_absolute()}
    if len({path.name for path in paths}) == len(paths):
        short = {path.as_posix(): path.name for path in paths}
    else:
        top = os.path.commonpath([path.parent for path in paths])
        short = {path.as_posix(): path.relative_to(top).as_posix() for path in paths}
    return [replace(video, id=short.get(video.id, video.id)) for video in videos]


@LAYOUTS.register("folder")
def class_folders(root: Path) -> Listing:
    """A folder per class in a folder per split: ``train/<class>/<video>``, ``val/<class>/<video>``."""
    folders = {_split(path.name): path for path in sorted(root.iterdir()) if path.is_dir()}
    folders.pop(None, None)
    names = sorted({path.name for split in folders.values() for path in split.iterdir() if path.is_dir()})
    videos = [
        Listed(path.relative_to(top).with_suffix("").as_posix(), split or "", names.index(folder.name), path)
        for split, top in folders.items()
        for folder in sorted(top.iterdir())
        if folder.is_dir()
        for path in sorted(_videos(folder))
    ]
    _need(videos, root, "train/<class>/<video> and val/<class>/<video>")
    return Listing(videos, names)


def read_listing(layout: str, root: Path) -> Listing:
    """Return what a data set should hold.

    Raises:
        ConfigError: no layout has this name.
        DataError: the folder is not there, or does not hold what the layout needs.
    """
    read = LAYOUTS[layout]
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    return read(root.absolute())


def _need(videos: Iterable[Listed], root: Path, what: str) -> None:
    present = {video.split for video in videos}
    if "train" not in present and "val" not in present:
        raise DataError(f"{root}: nothing listed for training or validation; this layout needs {what}")


def _split(name: str) -> str | None:
    stem = name.lower().removeprefix("kinetics_400_").removeprefix("k400_")
    return next((split for split, names in SPLITS.items() if stem in names), None)


def _plain(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None


class Files:
    """The video files below a folder, found by name without suffix.

    Where several have one name, one as distributed is taken before any other kind of file, then the first by path.

    Args:
        root: the folder.
        distributed: suffix of the data set's own files.
    """

    def __init__(self, root: Path, distributed: str) -> None:
        self._files: dict[str, list[Path]] = {}
        self.several: dict[str, list[Path]] = {}
        """Those of the videos found that have more than one file."""
        for path in sorted(_videos(root), key=lambda path: (path.suffix.lower() != distributed, path)):
            self._files.setdefault(path.stem, []).append(path)

    def find(self, name: str) -> Path | None:
        """Return a video's file, None if there is none."""
        files = self._files.get(name, [])
        if len(files) > 1:
            self.several[name] = files
        return files[0] if files else None


def _videos(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield path
