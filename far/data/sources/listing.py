"""What a data set should hold: its videos, its classes, and what is odd about them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from far.data.sources.diagnostics import Diagnostics, counted, describe, one_line, some
from far.errors import DataError

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
        place: where it is listed, e.g. ``train.csv:3``; the file itself where folders are the list.
        sought: the file that was looked for, as text.
    """

    id: str
    split: str
    label: int
    path: Path | None
    place: str = ""
    sought: str = ""


@dataclass(frozen=True)
class Listing:
    """What a data set should hold.

    Attributes:
        videos: in the order of the lists.
        labels: names of the classes.
        published: videos by split as its publisher counts them; the lists' own numbers where none are published.
        several: files by id where there are several for one video; the first of them is used.
        warnings: places (``train.csv:3``, or a class) by what is odd there.

    Raises:
        DataError: a split lists two videos of one id.
    """

    videos: list[Listed]
    labels: list[str]
    published: dict[str, int] = field(default_factory=dict)
    several: dict[str, list[Path]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_ids()
        for split, number in Counter(video.split for video in self.videos).items():
            self.published.setdefault(split, number)
        for what, place in (*self._odd_videos(), *self._odd_classes()):
            self.warnings.setdefault(what, []).append(place)

    def _check_ids(self) -> None:
        first: dict[tuple[str, str], Listed] = {}
        doubled = []
        for video in self.videos:
            other = first.setdefault((video.split, video.id), video)
            if other is not video:
                doubled.append((other, video))
        if doubled:
            one, two = doubled[0]
            text = f"two videos of split '{one.split}' are called '{one_line(one.id)}': {one.place} and {two.place}"
            if len(doubled) > 1:
                text += f"; {len(doubled)} such in all: {some(video.place for _, video in doubled)}"
            raise DataError(text)

    def _odd_videos(self) -> Iterator[tuple[str, str]]:
        """Yield notes on single videos: unlabelled ones, and files that serve two splits."""
        first: dict[str, Listed] = {}
        for video in self.videos:
            if video.label < 0 and video.split != "test":
                yield f"{video.split} videos without a label", video.place
            if video.path is not None:
                other = first.setdefault(os.path.normpath(video.path), video)
                if other.split != video.split:
                    yield f"files listed for {other.split} and for {video.split} as well", video.place
                elif other is not video:
                    yield f"files listed twice for {video.split}", video.place

    def _odd_classes(self) -> Iterator[tuple[str, str]]:
        """Yield what is odd about splits and classes; only videos that are there count."""
        for split in ("train", "val"):
            if not any(video.split == split for video in self.videos):
                yield "splits without a video", split
        present = [video for video in self.videos if video.path is not None and video.label >= 0]
        used, trained = {video.label for video in present}, {video.label for video in present if video.split == "train"}
        for number, name in enumerate(self.labels):
            if number not in used:
                yield "classes without a video", f"{number} '{one_line(name)}'"
            elif trained and number not in trained:
                yield "classes without a training video", f"{number} '{one_line(name)}'"
        similar: dict[str, list[str]] = defaultdict(list)
        for name in self.labels:
            similar[_folded(name)].append(name)
        for names in similar.values():
            if len(names) > 1:
                yield "classes of almost the same name", " and ".join(f"'{one_line(name)}'" for name in names)


def split_of(name: str) -> str | None:
    """Return our name of a split that a data set calls so, None if there is none."""
    return next((split for split, names in SPLITS.items() if name.strip().lower() in names), None)


def need_videos(videos: list[Listed], diagnostics: Diagnostics, what: str) -> None:
    """Check that something is listed; a test set alone is enough for ``farlab predict``.

    Args:
        videos: what was listed.
        diagnostics: what was odd so far, which may be why.
        what: what the layout reads.

    Raises:
        DataError: nothing is listed.
    """
    if not videos:
        why = "".join(f"; {describe(*odd)}" for odd in diagnostics.warnings.items())
        root = one_line(str(diagnostics.root))
        raise DataError(f"{root}: nothing listed for training, validation or test; this layout needs {what}{why}")


def check_encoding(listing: Listing, root: Path) -> None:
    """Check that a manifest can hold the names of a data set.

    Raises:
        DataError: the name of a class, a video or a file below ``root`` cannot be written as UTF-8.
    """
    bad = [f"the class {name}" for name in listing.labels if not _is_utf8(name)]
    for video in listing.videos:
        inside = str(video.path or "").removeprefix(str(root))
        if not _is_utf8(video.id) or not _is_utf8(inside):
            bad.append(video.place)
    if bad:
        names = f"{counted(len(bad), 'name')} not in UTF-8, to be renamed: {some(map(one_line, bad))}"
        raise DataError(f"{one_line(str(root))}: {names}")


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
