"""The frame indexes of a data set: kept in a file next to its manifest, built when it is prepared or first read.

A file is decoded whole once before any of its frames is used: by ``farlab data check``, or by the first trial that
reads it. What that shows holds for every reader from then on, so that whether a file is used never depends on which of
its frames a clip asks for.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.decoder import VideoError, versioned
from far.data.decoding.frame_index import VERSION, FrameIndex, pack, unpack
from far.data.decoding.pool import POOL
from far.data.sources.demo_writer import Progress
from far.data.sources.manifest import Manifest, Video
from far.data.sources.unchanged import ChangedError, UnchangedFiles
from far.errors import StorageError
from far.parquet import read_table
from far.store.atomic import append_json_line, read_json_lines, write_atomic
from far.store.lock import FileLock

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

FILE_NAME = "frames.parquet"
"""File next to the manifest."""
_JOURNAL, _VERDICTS, _LOCK = ".index.jsonl", ".decoded.jsonl", ".index.lock"
_METADATA = b"farlab"
_WAIT = 24 * 3600.0
"""Seconds to wait for another process that makes the index of the same data set."""


class FrameIndexes:
    """The frame index of every video of a data set.

    Args:
        manifest: the data set.
        table: as in the file next to it; a video that is not in it is indexed when it is read.
    """

    def __init__(self, manifest: Manifest, table: pa.Table) -> None:
        self._manifest, self._table = manifest, table
        names = zip(table["split"].to_pylist(), table["id"].to_pylist(), strict=True)
        self._rows = {name: row for row, name in enumerate(names)}
        self._counts, self._heights, self._widths = (table[name].to_pylist() for name in ("count", "height", "width"))
        self._sizes, self._times = (table[name].to_pylist() for name in ("size", "mtime_ns"))
        self._found: dict[tuple[str, str], FrameIndex | VideoError] = {}
        self._decoded = _Verdicts(manifest.directory / _VERDICTS)
        self._unchanged = UnchangedFiles(manifest)

    def get(self, video: Video) -> FrameIndex:
        """Return a video's frame index.

        Raises:
            VideoError: the file cannot be read.
            ChangedError: its content is no longer what was prepared.
        """
        name = (video.split, video.id)
        self._unchanged.check(video, self._state(video))
        if name not in self._found:
            try:
                self._found[name] = self._stored(video) or POOL.index(self._manifest.file(video))
            except VideoError as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, VideoError):
            raise VideoError(found.path, found.reason)
        return found

    def confirmed(self, video: Video) -> FrameIndex:
        """Return a video's frame index once all of the file has been decoded: the first time, that is done here.

        Raises:
            VideoError: the file cannot be read, or some frame of it does not decode.
            ChangedError: its content is no longer what was prepared.
        """
        index = self.get(video)
        decoded = self._decoded.get(video, index)
        if decoded is None:
            try:
                decoded = POOL.confirm(self._manifest.file(video), index)
            except VideoError as error:
                self._found[video.split, video.id] = error
                raise
            self._decoded.add(video, index, decoded)
        return decoded

    def set_decoded(self, video: Video, decoded: FrameIndex) -> None:
        """Remember what decoding all of a video's file showed."""
        with suppress(VideoError, ChangedError):
            index = self.get(video)
            if self._decoded.get(video, index) is None:
                same = decoded.as_json() == index.as_json()
                self._decoded.add(video, index, index if same else decoded)

    def sizes(self, videos: Sequence[Video]) -> NDArray[np.int64]:
        """Return the bytes of all frames of each video in RGB, 0 where it is not known yet."""
        unknown = len(self._counts)
        rows = [self._rows.get((video.split, video.id), unknown) for video in videos]
        counts, heights, widths = (
            np.array([*column, 0], np.float64)  # None becomes NaN
            for column in (self._counts, self._heights, self._widths)
        )
        return np.nan_to_num(3 * counts * heights * widths)[rows].astype(np.int64)

    def decoders(self) -> dict[str, int]:
        """Return how many videos each decoder reads, by its name and version, e.g. ``{"decord 0.6.0": 100}``."""
        names = [versioned(reader) for reader in self._table["reader"].to_pylist() if reader]
        return dict(sorted(Counter(names).items()))

    def _state(self, video: Video) -> tuple[int, int] | None:
        """Return size and time of a video's file when it was indexed, None if that failed or was not done."""
        row = self._rows.get((video.split, video.id))
        return None if row is None or self._sizes[row] is None else (self._sizes[row], self._times[row])

    def _stored(self, video: Video) -> FrameIndex | None:
        row = self._rows.get((video.split, video.id))
        if row is None:
            return None
        record = {name: self._table[name][row].as_py() for name in self._table.column_names}
        if record["reason"]:
            raise VideoError(self._manifest.file(video), record["reason"])
        return _index(record)


def misread(directory: Path) -> tuple[str, dict[str, str]]:
    """Return a data set's content hash, and in what way versions before the frame index misread its files, by name.

    Args:
        directory: of the manifest; nothing is known where its frames have not been indexed yet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = directory / FILE_NAME
    try:
        header = json.loads((pq.read_schema(path).metadata or {})[_METADATA])
        reasons = read_table(path, ["read_differently"]).column(0).to_pylist()
        names = read_table(path, ["split", "id"]) if any(reasons) else None
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return "", {}
    rows = zip(reasons, *(names[name].to_pylist() for name in ("split", "id")), strict=True) if names else ()
    return str(header["content_hash"]), {f"{split}/{name}": reason for reason, split, name in rows if reason}


def open_indexes(manifest: Manifest, progress: Progress | None = None) -> FrameIndexes:
    """Return the frame indexes of a data set; those of one prepared by an earlier version are made first.

    One process makes them, others wait for it. Where they cannot be stored, each makes its own.

    Args:
        manifest: the data set.
        progress: called with (files done, files in all) while they are made; default: a log line.
    """
    table = _read(manifest)
    if table is None:
        lock = FileLock(manifest.directory / _LOCK, f"the frame index of {manifest.directory}")
        try:
            with lock.acquire(_WAIT):
                table = _read(manifest)
                if table is None:
                    table = write_indexes(manifest, _make(manifest, progress or _logged(manifest)))
        except (OSError, StorageError) as error:
            log.warning("%s: the frame index is rebuilt every time, which is slow: %s", manifest.directory, error)
            table = _tabled(manifest, _make(manifest, progress or _logged(manifest)))
    return FrameIndexes(manifest, table)


def write_indexes(manifest: Manifest, results: Mapping[tuple[str, str], dict[str, Any]]) -> pa.Table:
    """Write the frame indexes of a data set next to its manifest.

    Args:
        manifest: the data set.
        results: by split and id, ``index`` (``FrameIndex.as_json``) or the ``reason`` why there is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = _tabled(manifest, results)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(manifest.directory / FILE_NAME, sink.getvalue().to_pybytes())
    with suppress(OSError):
        (manifest.directory / _JOURNAL).unlink(missing_ok=True)
    return table


def _tabled(manifest: Manifest, results: Mapping[tuple[str, str], dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    rows = []
    for video in manifest.videos:
        result = results.get((video.split, video.id))
        if result is not None:
            index = FrameIndex.from_json(result["index"]) if "index" in result else None
            rows.append({"split": video.split, "id": video.id, "reason": result.get("reason", ""), **_record(index)})
    header = {"version": VERSION, "content_hash": manifest.content_hash}
    return pa.Table.from_pylist(rows, _schema()).replace_schema_metadata({_METADATA: json.dumps(header)})


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_()}
    own = [(field.name, kinds.get(str(field.type), pa.binary())) for field in fields(FrameIndex)]
    return pa.schema([("split", pa.string()), ("id", pa.string()), ("reason", pa.string()), *own])


def _record(index: FrameIndex | None) -> dict[str, Any]:
    if index is None:
        return {}
    packed = {name: pack(getattr(index, name)) for name in ("timestamps", "seek_points")}
    return {field.name: getattr(index, field.name) for field in fields(index)} | packed


def _index(record: dict[str, Any]) -> FrameIndex:
    own = {field.name: record[field.name] for field in fields(FrameIndex)}
    return FrameIndex(**(own | {name: unpack(own[name]) for name in ("timestamps", "seek_points")}))


def _read(manifest: Manifest) -> pa.Table | None:
    """Return the stored indexes, None if they are not there, not whole, or of other content."""
    import pyarrow as pa

    try:
        table = read_table(manifest.directory / FILE_NAME)
        header = json.loads((table.schema.metadata or {})[_METADATA])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    right = header == {"version": VERSION, "content_hash": manifest.content_hash}
    return table if right and table.schema.names == _schema().names else None


def _make(manifest: Manifest, progress: Progress) -> dict[tuple[str, str], dict[str, Any]]:
    from far.data.sources.journal import Journal  # noqa: PLC0415  (what imports this imports it)
    from far.data.sources.prepare import look  # noqa: PLC0415  (which imports this)

    files = {f"{video.split}/{video.id}": (video, manifest.file(video)) for video in manifest.videos}
    journal = Journal(manifest.directory / _JOURNAL)
    there = [(name, path) for name, (_, path) in files.items() if path.is_file()]
    results = {}
    for name, result in journal.run(there, look, progress).items():
        video, _ = files[name]
        if video.sha256 and result.get("sha256", video.sha256) != video.sha256:
            result = {"reason": "its bytes are not those that were prepared"}
        results[video.split, video.id] = result
    return results


def _logged(manifest: Manifest) -> Progress:
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 10:
            last = time.monotonic()
            log.warning("%s: indexing frames (once): %d of %d files", manifest.directory.name, done, total)

    return progress


class _Verdicts:
    """Which files have been decoded whole without an error, by whatever process, and what that showed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[tuple[object, ...], FrameIndex | None] = {}
        for record in read_json_lines(path):
            with suppress(KeyError, TypeError, ValueError):
                if record["version"] == VERSION:
                    other = record["index"]
                    key = (record["split"], record["id"], record["size"], record["mtime_ns"])
                    self._known[key] = FrameIndex.from_json(other) if other else None

    def get(self, video: Video, index: FrameIndex) -> FrameIndex | None:
        """Return the index of this very file as decoding it showed, None if it has not been decoded."""
        key = (video.split, video.id, index.size, index.mtime_ns)
        return (self._known[key] or index) if key in self._known else None

    def add(self, video: Video, index: FrameIndex, decoded: FrameIndex) -> None:
        """Remember what decoding a file showed."""
        other = None if decoded is index else decoded
        name = {"split": video.split, "id": video.id}
        state = {"size": index.size, "mtime_ns": index.mtime_ns}
        record = {"version": VERSION, **name, **state, "index": other.as_json() if other else None}
        with self._lock:
            self._known[(*name.values(), *state.values())] = other
            with suppress(OSError, StorageError):  # then it is decoded again in the next process
                append_json_line(self._path, record)
