"""Data sets as they are distributed, read into one listing: which videos there should be, with what label, and where.

A layout only reads lists and folders; it opens no video (``far.data.prepare`` does).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
    """

    videos: list[Listed]
    labels: list[str]
    published: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split in SPLITS:
            listed = sum(video.split == split for video in self.videos)
            if listed:
                self.published.setdefault(split, listed)


LAYOUTS: Registry[Callable[[Path], Listing]] = Registry("data set layout")
"""Each maps the data set's folder to its listing, or raises ``DataError`` naming what it misses there."""


@LAYOUTS.register("ssv2")
def something_something_v2(root: Path) -> Listing:
    """Something-Something V2: ``[something-something-v2-]{train,validation,test,labels}.json`` and ``<id>.webm``.

    The lists may lie in the folder or in one below it, and so may the videos. Templates are spelled with or without
    brackets: "Holding [something]" in the lists is "Holding something" in the labels.
    """
    lists = {path.name.removeprefix("something-something-v2-"): path for path in sorted(root.rglob("*.json"))}
    if "labels.json" not in lists:
        raise DataError(f"{root}: neither something-something-v2-labels.json nor labels.json is in it")
    numbers = {_plain(name): int(number) for name, number in _json(lists["labels.json"]).items()}
    labels = [name for name, _ in sorted(numbers.items(), key=lambda item: item[1])]
    if sorted(numbers.values()) != list(range(len(labels))):
        raise DataError(f"{lists['labels.json']}: the class numbers are not 0 to {len(labels) - 1}")
    files = _index(root)
    videos = []
    for split, names in SPLITS.items():
        path = next((lists[f"{name}.json"] for name in names if f"{name}.json" in lists), None)
        for entry in _json(path) if path else []:
            label = _ssv2_label(entry, numbers, path)
            videos.append(Listed(str(entry["id"]), split, label, files.get(str(entry["id"]))))
    _need(videos, root, "something-something-v2-train.json")
    return Listing(videos, labels, {"train": 168_913, "val": 24_777, "test": 27_157})


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
    files, entries = _index(root), []
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
        seen.setdefault((split, name), Listed(name, split, numbers.get(row.get("label", ""), -1), files.get(name)))
    _need(list(seen.values()), root, "a list with the columns label, youtube_id, time_start, time_end, split")
    return Listing(list(seen.values()), names)


@LAYOUTS.register("csv")
def path_label_lists(root: Path) -> Listing:
    """The ancestors' lists: ``train.csv``, ``val.csv``, ``test.csv`` of ``path label`` lines, no header.

    A path is absolute or relative to its list, and may hold spaces; a line without a label is an unlabelled video. A
    ``labels.txt`` names the classes, line n class n.
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
    key = Path(name).with_suffix("").as_posix() if not Path(name).is_absolute() else Path(name).stem
    return Listed(key, split, label, file if file.is_file() else None)


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


def _index(root: Path) -> dict[str, Path]:
    """Return all video files below a folder by name without suffix."""
    return {path.stem: path for path in _videos(root)}


def _videos(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield path
