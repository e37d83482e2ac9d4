"""Videos with a smaller short side: re-encoded once into a folder of the data set, which its manifest then names.

A video that is not larger is taken over as it is, and so is one that cannot be re-encoded, so that ``prepare``,
``check`` and training say of it what they say of the original.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

from far.data.decoding.frame_index import FrameIndex
from far.data.decoding.pool import UndecidedError
from far.data.sources.demo_writer import Progress
from far.data.sources.diagnostics import counted, one_line, some
from far.data.sources.encoder_pool import EncoderPool
from far.data.sources.journal import Journal, Result, state_of
from far.data.sources.listing import Listing
from far.data.sources.manifest import read_header
from far.data.sources.prepare import look_into, manifest_of, name_of
from far.data.sources.resized import FOLDER_NOTE, NOTE, account
from far.data.sources.tree import VIDEO_SUFFIXES
from far.data.sources.video_encoder import CODEC, SETTINGS
from far.errors import ConfigError, DataError
from far.store.atomic import clear_abandoned, read_json, scratch_path, storage_errors, write_atomic, write_json
from far.store.lock import FileLock

Show = Callable[[str], AbstractContextManager[Progress]]
SMALLEST, LARGEST = 16, 4320
"""Short sides in pixels: a macroblock of H.264, and 8K."""
VERSION = 1
"""Raise it when the same settings would make other files."""
_OWN = ".resized."
_OWNER, _JOURNAL, _LOCK = (f"{_OWN}{kind}" for kind in ("json", "jsonl", "lock"))
"""Files in the folder of the resized videos: whose it is, what is done, and who is at it."""
TRIES = 2
"""Times that a file is tried whose encoder was killed or stood still, which may be no fault of the file."""
_LONGEST = 200
"""Bytes of a file's name, which leaves room for suffixes."""


@dataclass(frozen=True)
class Resize:
    """What ``--resize`` asks for.

    Attributes:
        short_side: in pixels, even.
        into: folder of the resized videos.
    """

    short_side: int
    into: Path


def short_side(text: str) -> int:
    """Return the short side in pixels that ``--resize`` asks for.

    Raises:
        ConfigError: it is no number, odd, which H.264 with 4:2:0 chroma cannot be, or no size of a video.
    """
    right = "an even one, e.g. 320"
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise _refused("--resize", f"{text!r} is no number of pixels: {right}")
    pixels = int(text)
    if not SMALLEST <= pixels <= LARGEST:
        raise _refused(
            "--resize", f"{pixels} is no short side of a video, from {SMALLEST} to {LARGEST} pixels: {right}"
        )
    if pixels % 2:
        raise _refused("--resize", f"{pixels} is odd, which H.264 cannot be: {pixels - 1} or {pixels + 1}")
    return pixels


def default_name(folder: Path, pixels: int | None) -> str:
    """Return what a data set is called unless it is named: as its folder, with the short side where it is resized."""
    name = folder.resolve().name
    return name if pixels is None else f"{name}-{pixels}"


def check_place(resize: Resize, folder: Path) -> None:
    """Check that a folder can take the resized videos of a data set; it stays as it is.

    Args:
        resize: short side and folder.
        folder: the data set's own folder.

    Raises:
        ConfigError: it cannot be written, holds something else, or lies where the originals are looked for.
    """
    into, source = resize.into.resolve(), folder.resolve()
    if into == source or source in into.parents or into in source.parents:
        raise _refused(
            "--into", f"{into} and the folder that is read, {source}, must not lie in one another: name another"
        )
    place = next(path for path in (into, *into.parents) if os.path.lexists(path))
    if not place.is_dir():
        raise _refused("--into", f"{into} cannot be made: {place} is no folder")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise _refused("--into", f"{into} cannot be written ({error.strerror}): name another folder") from None
    if place != into or all(path.name.startswith(_OWN) for path in into.iterdir()):
        return
    owner = read_json(into / _OWNER, dict) or {}
    if not owner:
        raise _refused("--into", f"{into} is not empty, and holds no resized videos; name another folder")
    if owner.get("short_side") != resize.short_side:
        held = f"videos resized to {owner.get('short_side')} pixels"
        raise _refused("--into", f"{into} holds {held}, not {resize.short_side}; choose another folder or --name")
    other = Path(str(owner.get("folder")))
    if other != source and other.is_dir():  # else it has been moved
        raise _refused("--into", f"{into} holds the resized videos of {other}; choose another folder or --name")


def check_name(directory: Path, pixels: int | None, otherwise: str) -> None:
    """Check that a data set of this name, if there is one, has the same short side.

    Args:
        directory: of the manifest.
        pixels: short side that is wanted; None: as the videos are.
        otherwise: another name that it may have.

    Raises:
        ConfigError: it has another.
    """
    made, name = earlier_resize(directory), directory.name
    if made is None or made == (pixels or 0):
        return
    there = f"resized to {made} pixels" if made else "not resized"
    other = otherwise if otherwise != name else f"{name}-{pixels or 'original'}"
    raise _refused("--name", f"the data set '{name}' is {there}: choose another name, e.g. {other}")


def earlier_resize(directory: Path) -> int | None:
    """Return the short side that a manifest's data set was resized to, 0 if it was not, None if there is none."""
    try:
        return int(account(read_header(directory).note).get("short_side", 0))
    except DataError:  # none, or damaged: it is written again
        return None


@dataclass(frozen=True)
class ResizedFile:
    """The file that stands for an original.

    Attributes:
        path: of the file; the original's where that cannot be read.
        encoder: version of the encoder, empty where the file is as it was.
        reason: why it could not be re-encoded, empty where it was or needed not be.
    """

    path: Path
    encoder: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _Job:
    """What is to be done with one file.

    Attributes:
        stem: of the file that is made, without the suffix.
        index: frame index of the original, None if it cannot be opened.
        kept: why it is taken over as it is; empty because it is not larger; None where it is to be re-encoded.
        is_readable: whether its bytes can be read.
    """

    stem: Path
    index: FrameIndex | None
    kept: str | None
    is_readable: bool


class Used(TypedDict):
    """What ``prepare`` needs to name the resized files.

    Attributes:
        instead: files to use in place of listed ones.
        note: what the manifest's note is to say of them.
    """

    instead: dict[Path, Path]
    note: dict[str, object]


def resize_videos(
    listing: Listing,
    resize: Resize,
    *,
    layout: str,
    root: Path,
    directory: Path,
    show: Show = lambda what: nullcontext(lambda done, total: None),
) -> Used:
    """Make the resized files of a data set, in parallel, going on where it stopped.

    Args:
        listing: what should be there.
        resize: short side and folder.
        layout: name of the layout.
        root: folder of the originals; what is made is called as they are below it.
        directory: folder of the manifest.
        show: opens what is called with (files done, files in all) while something is being done, said in words.

    Returns:
        What ``prepare`` is to be given.

    Raises:
        DataError: not one of the listed files is there, or can be re-encoded.
        ConfigError: not one of them has a larger short side.
        LockedError: another process is at it.
        StorageError: the folder cannot be written, e.g. because it is full; what is made is kept.
    """
    root, into = root.absolute(), resize.into.absolute()
    # as they are, and with other sizes
    prepared = sorted(directory.parent.glob(f"{glob.escape(root.resolve().name)}*"))
    with show("looking into files") as progress:
        facts = look_into(listing, root, directory, also=prepared, progress=progress)
    known = {video.path: facts[name_of(video)] for video in listing.videos if video.path is not None}
    jobs = {path: _job(into / stem, known[path], resize.short_side) for path, stem in _stems(known, root).items()}
    _check_sizes(jobs.values(), resize.short_side, root)
    with storage_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(into / _LOCK, f"the folder of resized videos {into}"), show("resizing files") as progress:
            write_json(into / _OWNER, {"short_side": resize.short_side, "folder": str(root.resolve())})
            made = _made(jobs, resize.short_side, into, progress)
    each = {name_of(video): made[video.path] for video in listing.videos if video.path is not None}
    originals = manifest_of(listing, facts, layout, root, directory)
    note: dict[str, object] = {NOTE: _account(each, resize.short_side, originals.content_hash), FOLDER_NOTE: str(root)}
    return {"instead": {path: each.path for path, each in made.items()}, "note": note}


def _account(made: Mapping[str, ResizedFile], short_side: int, content_hash: str) -> dict[str, object]:
    """Return what the manifest says of how its videos were resized.

    Args:
        made: what became of each video, by its name.
        short_side: in pixels.
        content_hash: of the data set of the originals.
    """
    return {
        "short_side": short_side,
        "content_hash": content_hash,
        "codec": CODEC,
        "settings": SETTINGS,
        "encoders": sorted({each.encoder for each in made.values() if each.encoder}),
        "reencoded": sum(bool(each.encoder) for each in made.values()),
        "not_larger": sum(not each.encoder and not each.reason for each in made.values()),
        "not_reencoded": {name: each.reason for name, each in made.items() if each.reason},
    }


def _job(stem: Path, facts: Result, short_side: int) -> _Job:
    index = FrameIndex.from_json(facts["index"]) if "index" in facts else None
    kept: str | None
    if index is None:
        kept = str(facts["reason"])
    elif min(index.width, index.height) <= short_side:
        kept = ""
    else:  # of a file that was cut off, the frames before the damage are read, and ``check`` says so
        kept = index.truncated or None
    return _Job(stem, index, kept, "sha256" in facts)


def _check_sizes(jobs: Iterable[_Job], short_side: int, root: Path) -> None:
    """Check that there is something to make smaller.

    Raises:
        ConfigError: there is not.
    """
    largest = max((min(job.index.width, job.index.height) for job in jobs if job.index), default=0)
    if largest <= short_side:
        none = f"no video of {one_line(str(root))} has a short side of more than {short_side} pixels"
        raise _refused("--resize", f"{none} (the largest: {largest}): choose less, or leave it out")


def _made(jobs: Mapping[Path, _Job], short_side: int, into: Path, progress: Progress) -> dict[Path, ResizedFile]:
    names = {path: str(job.stem.relative_to(into)) for path, job in jobs.items()}
    by_name = {name: jobs[path] for path, name in names.items()}
    encoders = EncoderPool()

    def make(path: Path) -> Result:
        job, encoder = jobs[path], ""
        if not job.is_readable:
            raise UndecidedError(path, job.kept or "")
        if job.kept is not None:
            target = _take_over(path, job)
        else:
            assert job.index is not None
            target = job.stem.with_name(f"{job.stem.name}.mp4")
            encoder = encoders.write_smaller(path, job.index, target, _size(job.index, short_side))
        return {"file": str(target.relative_to(into)), "state": state_of(target), "encoder": encoder, "kept": job.kept}

    def holds(name: str, result: Result) -> bool:
        if "reason" in result:
            return True
        return result["kept"] == by_name[name].kept and tuple(result["state"]) == state_of(into / result["file"])

    made_with = {"version": VERSION, "short_side": short_side, **SETTINGS}
    files = [(name, path) for path, name in names.items()]
    folders = {job.stem.parent for job in jobs.values()}
    clear_abandoned(*folders)
    try:
        with encoders:
            for _ in range(TRIES):
                journal = Journal(into / _JOURNAL, made_with)
                results = journal.run(files, make, progress, hashed=False, holds=holds, stop=encoders.end)
                if not any("reason" in result for result in results.values()):
                    break
    finally:
        clear_abandoned(*folders)
    larger = [name for name, job in by_name.items() if job.kept is None]
    if all("reason" in results[name] for name in larger):
        reasons = some((f"{one_line(name)}: {results[name]['reason']}" for name in larger), shown=3)
        raise DataError(f"none of the {counted(len(larger), 'larger video')} can be re-encoded: {reasons}")
    return {
        path: ResizedFile(_take_over(path, jobs[path]), reason=result["reason"])
        if "reason" in (result := results[name])
        else ResizedFile(into / result["file"], result["encoder"], result["kept"] or "")
        for path, name in names.items()
    }


def _take_over(path: Path, job: _Job) -> Path:
    """Return where a file is taken over as it is: by a hard link, or by a copy where there can be none."""
    source = path.resolve()
    target = job.stem.with_name(f"{job.stem.name}{path.suffix}")
    if not job.is_readable:
        return path
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if state_of(target) == state_of(source):
            return target
        scratch = scratch_path(target)
        try:
            os.link(source, scratch)
            scratch.replace(target)
        except OSError:  # another file system, or another user's file
            with source.open("rb") as stream:
                write_atomic(target, lambda copy: shutil.copyfileobj(stream, copy))
            shutil.copystat(source, target)
    return target


def _size(index: FrameIndex, short_side: int) -> tuple[int, int]:
    """Return the width and height of a video once its short side is this; both are even."""
    scale = Fraction(short_side, min(index.width, index.height))
    width, height = (2 * round(side * scale / 2) for side in (index.width, index.height))
    return width, height


def _stems(paths: Iterable[Path], root: Path) -> dict[Path, Path]:
    """Return what the file made of each is called, without its suffix: as below ``root``, made unique by a hash."""
    top = os.path.normpath(root)
    stems, places = {}, {path: Path(os.path.relpath(os.path.normpath(path), top)) for path in paths}
    for path, place in places.items():
        inside = place if place.parts[0] != os.pardir else Path(place.name)
        stem = inside.with_suffix("") if inside.suffix.lower() in VIDEO_SUFFIXES else inside
        is_plain = inside is place and len(os.fsencode(stem.name)) <= _LONGEST
        stems[path] = stem if is_plain else _distinct(stem, place)
    counts = Counter(str(stem).casefold() for stem in stems.values())
    return {
        path: stem if counts[str(stem).casefold()] == 1 else _distinct(stem, places[path])
        for path, stem in stems.items()
    }


def _distinct(stem: Path, place: Path) -> Path:
    name = os.fsencode(stem.name)[:_LONGEST].decode(errors="ignore")
    return stem.with_name(f"{name}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}")


def _refused(option: str, message: str) -> ConfigError:
    return ConfigError(message, key=option, where="command line")
