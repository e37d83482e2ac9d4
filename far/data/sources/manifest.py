"""The manifest: one Parquet file that says which videos a data set has, and a hash of what is in them.

Every source of videos becomes a manifest; nothing after it depends on where the videos came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from far.errors import ConfigError, DataError
from far.parquet import read_table
from far.store.atomic import write_atomic

FILE_NAME = "manifest.parquet"
_METADATA = b"farlab"


@dataclass(frozen=True)
class Video:
    """One video.

    Attributes:
        id: name that stays the same wherever the file lies.
        split: ``train``, ``val`` or ``test``.
        path: relative to the manifest's media root.
        label: class number, -1 where the data set keeps it secret.
        frames: number of frames as decoded, 0 if not known.
        fps: frames per second, 0 if not known.
        width: pixels as displayed, 0 if not known.
        height: pixels as displayed, 0 if not known.
        sha256: of the file's bytes, in hexadecimal; empty if not yet computed.
    """

    id: str
    split: str
    path: str
    label: int
    frames: int
    fps: float
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A data set: its videos in order of id, the names of its classes, and where its files lie.

    Attributes:
        videos: sorted by split and id.
        labels: names of the classes; a video's ``label`` is an index into it.
        media_root: folder that the videos' paths are relative to.
        source: what it was made from, e.g. ``demo`` or ``ssv2``.
        directory: folder of the manifest file; what is derived from the data set may be cached there.
        note: free facts of the source, e.g. the pairs of classes that are each other's time reversal.
    """

    videos: tuple[Video, ...]
    labels: tuple[str, ...]
    media_root: Path
    source: str
    directory: Path
    note: dict[str, object] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over ids, splits, labels, class names and file hashes; never over paths."""
        digest = hashlib.sha256(json.dumps(list(self.labels), ensure_ascii=False).encode())
        for video in self.videos:
            record = (video.id, video.split, str(video.label), video.sha256)
            digest.update("\x1f".join(record).encode() + b"\n")
        return digest.hexdigest()

    def split(self, name: str) -> list[Video]:
        """Return the videos of one split, in order of id.

        Raises:
            ConfigError: there is no video in such a split.
        """
        chosen = [video for video in self.videos if video.split == name]
        if not chosen:
            present = sorted({video.split for video in self.videos})
            raise ConfigError(f"the data set has no split '{name}'", choices=present, got=name)
        return chosen

    def file(self, video: Video) -> Path:
        """Return where a video's file lies."""
        return self.media_root / video.path


def make_manifest(
    videos: Iterable[Video],
    labels: Sequence[str],
    *,
    media_root: Path,
    source: str,
    directory: Path,
    note: dict[str, object] | None = None,
) -> Manifest:
    """Return a manifest with its videos in canonical order.

    Raises:
        DataError: two videos of a split share an id, or a label is out of range.
    """
    ordered = tuple(sorted(videos, key=lambda video: (video.split, video.id)))
    for first, second in pairwise(ordered):
        if (first.split, first.id) == (second.split, second.id):
            raise DataError(f"two videos in split '{first.split}' have the id '{first.id}'")
    for video in ordered:
        if not -1 <= video.label < len(labels):
            raise DataError(f"video '{video.id}' has label {video.label}, but there are {len(labels)} classes")
    return Manifest(ordered, tuple(labels), media_root, source, directory, note or {})


def write_manifest(manifest: Manifest) -> Path:
    """Write ``manifest.parquet`` into the manifest's directory, atomically, and return its path.

    A media root inside the directory is stored relative to it, so that the folder can be moved.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(Video.__dataclass_fields__)
    types = [pa.string()] * 3 + [pa.int32(), pa.int32(), pa.float64(), pa.int32(), pa.int32(), pa.string()]
    columns = {
        name: pa.array([getattr(video, name) for video in manifest.videos], kind)
        for name, kind in zip(names, types, strict=True)
    }
    root, directory = manifest.media_root.resolve(), manifest.directory.resolve()
    inside = root == directory or directory in root.parents
    header = {
        "labels": list(manifest.labels),
        "media_root": str(root.relative_to(directory)) if inside else str(root),
        "source": manifest.source,
        "content_hash": manifest.content_hash,
        "note": manifest.note,
    }
    table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(header)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    path = manifest.directory / FILE_NAME
    write_atomic(path, sink.getvalue().to_pybytes())
    return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from its file or from the folder that holds it.

    Raises:
        DataError: the file is not a manifest, or its content no longer is what its hash says.
    """
    import pyarrow as pa

    path = path / FILE_NAME if path.is_dir() else path
    try:
        table = read_table(path)
        header = json.loads(table.schema.metadata[_METADATA])
        rows = table.to_pydict()
        videos = [Video(*row) for row in zip(*(rows[name] for name in Video.__dataclass_fields__), strict=True)]
        manifest = make_manifest(
            videos,
            header["labels"],
            media_root=path.parent / header["media_root"],
            source=header["source"],
            directory=path.parent,
            note=header["note"],
        )
        is_whole = manifest.content_hash == header["content_hash"]
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a data set manifest: {error}") from None
    if not is_whole:
        raise DataError(f"{path} has been changed since it was written; prepare the data set again")
    return manifest


@dataclass(frozen=True)
class Header:
    """What a manifest says of itself, without its videos.

    Attributes:
        labels: names of the classes.
        content_hash: as it was when the manifest was written.
        note: free facts of the source.
    """

    labels: tuple[str, ...]
    content_hash: str
    note: dict[str, object] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Read the header of a manifest, from its file or from the folder that holds it; its videos are not looked at.

    Raises:
        DataError: the file is not a manifest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = path / FILE_NAME if path.is_dir() else path
    try:
        header = json.loads(pq.read_schema(path).metadata[_METADATA])
        return Header(tuple(map(str, header["labels"])), str(header["content_hash"]), dict(header.get("note") or {}))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a data set manifest: {error}") from None
