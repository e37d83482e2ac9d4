"""Listings into manifests, and every file of a manifest checked; both in parallel, both going on where they stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from far.data.decoding.frame_index import FrameIndex
from far.data.decoding.indexes import open_indexes, write_indexes
from far.data.decoding.pool import POOL
from far.data.sources.demo_writer import Progress
from far.data.sources.diagnostics import counted, describe, one_line, some
from far.data.sources.journal import Journal, Result
from far.data.sources.listing import Listed, Listing
from far.data.sources.manifest import Manifest, Video, make_manifest, write_manifest
from far.data.sources.tree import NO_VIDEO, UNLISTED
from far.errors import DataError
from far.store.atomic import write_atomic

BAD = ("missing", "truncated", "undecodable", "changed", "short")
"""What can be wrong with a file, worst first."""
WARNINGS = "warnings.log"
"""Name of the file next to the manifest with everything that is odd in the lists, a line each; no name of a list."""

_JOURNAL = ".prepare.jsonl"
NOTHING: Mapping[Any, Any] = MappingProxyType({})


def prepare(
    listing: Listing,
    *,
    layout: str,
    root: Path,
    directory: Path,
    instead: Mapping[Path, Path] = NOTHING,
    note: Mapping[str, object] = NOTHING,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Look into every listed file and write the manifest.

    A training video that is not there is left out; a validation or test video that is not there, or cannot be opened,
    stays and counts as unanswered. Either way it stands in the manifest's note. The listing's warnings are written out
    next to the manifest.

    Args:
        listing: what should be there.
        layout: name of the layout, kept as the manifest's source.
        root: the data set's folder; paths are kept relative to it where they lie in it.
        directory: folder for the manifest.
        instead: files to use in place of listed ones, by their paths.
        note: more facts for the manifest's note.
        progress: called with (files done, files in all).

    Raises:
        DataError: not one of the listed files is there.
    """
    facts = look_into(listing, root, directory, instead=instead, progress=progress)
    for what, place in _same_content((video for video in listing.videos if video.path is not None), facts):
        listing.warnings.setdefault(what, []).append(place)
    manifest = manifest_of(listing, facts, layout, root, directory, instead=instead, note=note)
    write_manifest(manifest)
    names = {f"{video.split}/{video.id}": (video.split, video.id) for video in manifest.videos}
    write_indexes(manifest, {names[name]: fact for name, fact in facts.items() if name in names})
    lines = [f"{what}: {place}\n" for what, places in listing.warnings.items() for place in places]
    if lines:
        write_atomic(directory / WARNINGS, "".join(lines))
    else:
        (directory / WARNINGS).unlink(missing_ok=True)
    return manifest


def look_into(
    listing: Listing,
    root: Path,
    directory: Path,
    *,
    instead: Mapping[Path, Path] = NOTHING,
    also: Iterable[Path] = (),
    progress: Progress,
) -> dict[str, Result]:
    """Return what is known of each listed file that is there, by ``name_of`` its video: SHA-256 and frame index.

    Where it cannot be opened, there is a ``reason`` in place of the ``index``.

    Args:
        listing: what should be there.
        root: the data set's folder.
        directory: folder of the manifest; what is found out is kept in it.
        instead: files to look into in place of listed ones.
        also: folders of manifests of the same files.
        progress: called with (files done, files in all).

    Raises:
        DataError: not one of the listed files is there.
    """
    present = [
        (name_of(video), instead.get(video.path, video.path)) for video in listing.videos if video.path is not None
    ]
    if not present:
        sought = some((f"{video.sought} ({video.place})" for video in listing.videos), shown=3)
        why = [describe(*odd) for odd in listing.warnings.items() if odd[0].startswith((NO_VIDEO, UNLISTED))]
        none = f"none of the {counted(len(listing.videos), 'listed video')} is there"
        raise DataError("; ".join([f"{one_line(str(root))}: {none}", f"looked for {sought}", *why]))
    return Journal(directory / _JOURNAL, also=[folder / _JOURNAL for folder in also]).run(present, look, progress)


def manifest_of(
    listing: Listing,
    facts: Mapping[str, Result],
    layout: str,
    root: Path,
    directory: Path,
    *,
    instead: Mapping[Path, Path] = NOTHING,
    note: Mapping[str, object] = NOTHING,
) -> Manifest:
    """Return the manifest of what is listed and what is known of the files (``look_into``); nothing is written."""
    missing: dict[str, list[str]] = {}
    videos = []
    for video in listing.videos:
        if video.path is None:
            missing.setdefault(video.split, []).append(video.id)
            if video.split == "train":
                continue
        path = video.path and instead.get(video.path, video.path)
        videos.append(_video(video, path or Path(video.id), facts.get(name_of(video), {}), root))
    own = {"published": listing.published, "missing": missing, **note}
    return make_manifest(
        videos, listing.labels, media_root=root.absolute(), source=layout, directory=directory, note=own
    )


def _same_content(videos: Iterable[Listed], facts: Mapping[str, Result]) -> Iterator[tuple[str, str]]:
    """Yield files that are copies of one another where they should not be: over splits, or under two labels."""
    first: dict[str, Listed] = {}
    for video in videos:
        content = facts.get(name_of(video), {}).get("sha256")
        other = first.setdefault(content, video) if content else video
        if other.path == video.path or (other.split == video.split and other.label == video.label):
            continue
        which = f"{video.place} and {other.place}"
        if other.split != video.split:
            yield f"files of {video.split} that are in {other.split} as well, by content", which
        else:
            yield f"files of {video.split} with two labels, by content", which


def name_of(video: Listed) -> str:
    """Return what a video is called in journals."""
    return f"{video.split}/{video.id}"


def _video(listed: Listed, path: Path, facts: Result, root: Path) -> Video:
    root = root.absolute()
    index = FrameIndex.from_json(facts["index"]) if "index" in facts else None
    return Video(
        id=listed.id,
        split=listed.split,
        path=str(path.relative_to(root) if root in path.parents else path),
        label=listed.label,
        frames=index.count if index else 0,
        fps=index.fps if index else 0.0,
        width=index.width if index else 0,
        height=index.height if index else 0,
        sha256=facts.get("sha256", ""),
    )


def look(path: Path) -> Result:
    """Return what is known of a file without decoding all of it: its frame index."""
    return {"index": POOL.index(path).as_json()}


@dataclass(frozen=True)
class VideoFinding:
    """One file that is not as it should be.

    Attributes:
        id: the video.
        split: its split.
        problem: one of ``BAD``.
        reason: in words.
    """

    id: str
    split: str
    problem: str
    reason: str


def check(manifest: Manifest, *, clip: int, progress: Progress = lambda done, total: None) -> list[VideoFinding]:
    """Decode every frame of every file and return what is wrong, worst first.

    Args:
        manifest: the data set.
        clip: frames below which a video is too short.
        progress: called with (files done, files in all).
    """
    journal = Journal(manifest.directory / ".check.jsonl")
    files = [(f"{video.split}/{video.id}", manifest.file(video)) for video in manifest.videos]
    records = journal.run([(name, path) for name, path in files if path.is_file()], _verify, progress)
    indexes = open_indexes(manifest)
    for video in manifest.videos:
        record = records.get(f"{video.split}/{video.id}", {})
        if "index" in record:
            indexes.set_decoded(video, FrameIndex.from_json(record["index"]))
    findings = [
        finding
        for video in manifest.videos
        if (finding := _judge(video, records.get(f"{video.split}/{video.id}"), clip)) is not None
    ]
    missing = manifest.note.get("missing")
    for split, names in missing.items() if isinstance(missing, dict) else ():
        known = {video.id for video in manifest.videos if video.split == split}
        findings += [
            VideoFinding(name, split, "missing", "listed, but not there") for name in names if name not in known
        ]
    return sorted(findings, key=lambda finding: (BAD.index(finding.problem), finding.split, finding.id))


def _verify(path: Path) -> Result:
    return {"index": POOL.confirm(path, POOL.index(path)).as_json()}


def _judge(video: Video, record: Result | None, clip: int) -> VideoFinding | None:
    def finding(problem: str, reason: str) -> VideoFinding:
        return VideoFinding(video.id, video.split, problem, reason)

    if record is None:
        return finding("missing", f"no file {video.path}")
    if "reason" in record:
        return finding("undecodable", record["reason"])
    if video.sha256 and record.get("sha256", video.sha256) != video.sha256:
        return finding("changed", "its bytes are not those that were prepared")
    count, truncated = record["index"]["count"], record["index"]["truncated"]
    if truncated:
        return finding("truncated", f"{count} frames; {truncated}")
    if count < clip:
        return finding("short", f"{count} frames, fewer than a clip of {clip}")
    return None
