"""Listings into manifests, and every file of a manifest checked; both in parallel, both going on where they stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from far.data.decoding.decoder import VideoError
from far.data.decoding.frame_index import VERSION, FrameIndex
from far.data.decoding.indexes import open_indexes, write_indexes
from far.data.decoding.pool import POOL, UndecidedError
from far.data.sources.demo_writer import Progress
from far.data.sources.diagnostics import counted, describe, one_line, some
from far.data.sources.listing import Listed, Listing
from far.data.sources.manifest import Manifest, Video, make_manifest, write_manifest
from far.data.sources.tree import NO_VIDEO, UNLISTED
from far.errors import DataError
from far.store.atomic import append_json_line, file_sha256, finite, read_json_lines, write_atomic

BAD = ("missing", "truncated", "undecodable", "changed", "short")
"""What can be wrong with a file, worst first."""
WARNINGS = "warnings.log"
"""Name of the file next to the manifest with everything that is odd in the lists, a line each; no name of a list."""


def prepare(
    listing: Listing, *, layout: str, root: Path, directory: Path, progress: Progress = lambda done, total: None
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
        progress: called with (files done, files in all).

    Raises:
        DataError: not one of the listed files is there.
    """
    present = [video for video in listing.videos if video.path is not None]
    if not present:
        sought = some((f"{video.sought} ({video.place})" for video in listing.videos), shown=3)
        why = [describe(*odd) for odd in listing.warnings.items() if odd[0].startswith((NO_VIDEO, UNLISTED))]
        none = f"none of the {counted(len(listing.videos), 'listed video')} is there"
        raise DataError("; ".join([f"{one_line(str(root))}: {none}", f"looked for {sought}", *why]))
    journal = Journal(directory / ".prepare.jsonl")
    facts = journal.run([(_name(video), video.path) for video in present if video.path], look, progress)
    for what, place in _same_content(present, facts):
        listing.warnings.setdefault(what, []).append(place)
    missing: dict[str, list[str]] = {}
    videos = []
    for video in listing.videos:
        if video.path is None:
            missing.setdefault(video.split, []).append(video.id)
            if video.split == "train":
                continue
        videos.append(_video(video, facts.get(_name(video), {}), root))
    note = {"published": listing.published, "missing": missing}
    manifest = make_manifest(
        videos, listing.labels, media_root=root.absolute(), source=layout, directory=directory, note=note
    )
    write_manifest(manifest)
    names = {f"{video.split}/{video.id}": (video.split, video.id) for video in manifest.videos}
    write_indexes(manifest, {names[name]: fact for name, fact in facts.items() if name in names})
    lines = [f"{what}: {place}\n" for what, places in listing.warnings.items() for place in places]
    if lines:
        write_atomic(directory / WARNINGS, "".join(lines))
    else:
        (directory / WARNINGS).unlink(missing_ok=True)
    return manifest


def _same_content(videos: Iterable[Listed], facts: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield files that are copies of one another where they should not be: over splits, or under two labels."""
    first: dict[str, Listed] = {}
    for video in videos:
        content = facts.get(_name(video), {}).get("sha256")
        other = first.setdefault(content, video) if content else video
        if other.path == video.path or (other.split == video.split and other.label == video.label):
            continue
        which = f"{video.place} and {other.place}"
        if other.split != video.split:
            yield f"files of {video.split} that are in {other.split} as well, by content", which
        else:
            yield f"files of {video.split} with two labels, by content", which


def _name(video: Listed) -> str:
    return f"{video.split}/{video.id}"


def _video(listed: Listed, facts: dict[str, Any], root: Path) -> Video:
    path, root = listed.path or Path(listed.id), root.absolute()
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


def look(path: Path) -> dict[str, Any]:
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


def _verify(path: Path) -> dict[str, Any]:
    return {"index": POOL.confirm(path, POOL.index(path)).as_json()}


def _judge(video: Video, record: dict[str, Any] | None, clip: int) -> VideoFinding | None:
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


class Journal:
    """Results by file in a file of JSON lines; a file that has not changed since is not looked at again.

    A file that could not be read is looked at again when it changes, when the decoders do, or when the trouble was not
    the file's (too slow, no permission).

    Args:
        path: the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoders = _decoder_versions()
        self._known = {
            (record["name"], record["size"], record["mtime"]): record["result"]
            for record in read_json_lines(path)
            if {"name", "size", "mtime", "result"} <= set(record)
            and record.get("version") == VERSION
            and ("reason" not in record["result"] or record.get("decoders") == self._decoders)
        }

    def run(
        self, files: Iterable[tuple[str, Path]], work: Callable[[Path], dict[str, Any]], progress: Progress
    ) -> dict[str, dict[str, Any]]:
        """Return ``work(path)`` of each file by name with the file's SHA-256, from the journal where it is known.

        Where ``work`` fails, the result has a ``reason``.
        """
        files = list(files)
        states = {name: _state(path) for name, path in files}
        results = {name: self._known[name, *state] for name, state in states.items() if (name, *state) in self._known}
        rest = [(name, path) for name, path in files if name not in results]
        progress(len(results), len(files))
        threads = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(threads, thread_name_prefix="far-check") as pool:
            try:
                # in pieces, so that an interruption waits for a few files only
                for start in range(0, len(rest), 4 * threads):
                    piece = rest[start : start + 4 * threads]
                    done = pool.map(lambda item: _result(item[1], work), piece)
                    for (name, _), (result, is_lasting) in zip(piece, done, strict=True):
                        if is_lasting:
                            self._write(name, *states[name], result)
                        results[name] = result
                        progress(len(results), len(files))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return results

    def _write(self, name: str, size: int, mtime: int, result: dict[str, Any]) -> None:
        record: dict[str, Any] = {"version": VERSION, "name": name, "size": size, "mtime": mtime, "result": result}
        if "reason" in result:
            record["decoders"] = self._decoders
        append_json_line(self._path, record)


def _state(path: Path) -> tuple[int, int]:
    """Return size and time of a file, zeros if it is gone."""
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _result(path: Path, work: Callable[[Path], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return what is known of a file, and whether it will be true next time."""
    record: dict[str, Any] = {}
    try:
        record["sha256"] = file_sha256(path)
        return {**record, **finite(work(path))}, True
    except UndecidedError as error:
        return {**record, "reason": error.reason}, False
    except VideoError as error:
        return {**record, "reason": error.reason}, True
    except OSError as error:
        return {**record, "reason": f"cannot be read: {error.strerror}"}, False


def _decoder_versions() -> str:
    """Return the video libraries of this installation with their versions, as text."""
    versions = []
    for name in ("decord", "decord2", "av"):
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return ", ".join(versions)
