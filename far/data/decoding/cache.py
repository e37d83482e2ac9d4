"""Decoded frames kept on disk and shared by all epochs and all trials of a machine.

Small data sets are decoded once: the first reader of a clip writes its frames into one file that every process
maps, and records their checksum last. A torn write, by a kill or a power cut, fails its checksum and is decoded again;
two writers of one clip write the same bytes.
"""

from __future__ import annotations

import logging
import math
import os
import re
import uuid
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from far.data.decoding.decoder import Frames, Pick, versioned
from far.data.decoding.indexes import FrameIndexes, open_indexes
from far.data.decoding.pool import POOL
from far.data.sources.demo_writer import Progress
from far.data.sources.manifest import Manifest, Video
from far.errors import StorageError
from far.store.atomic import storage_errors

log = logging.getLogger(__name__)

LIMIT = 2 << 30
"""Bytes of decoded frames up to which a data set is cached."""
_CHECKSUM_BYTES = 8
_OLD = re.compile(r"\.frames-[0-9a-f]{16}\.bin")


class FrameSource(Protocol):
    """Where clips come from; what serves one decoding to several trials is another implementation of it."""

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""

    def decoders(self) -> dict[str, int]:
        """Return how many videos of the data set each decoder reads, by its name and version."""


class DecodedFrames:
    """Decodes every time.

    Args:
        manifest: the data set.
        indexes: its videos' frame indexes; by default those stored with the manifest.
    """

    def __init__(self, manifest: Manifest, indexes: FrameIndexes | None = None) -> None:
        self._manifest = manifest
        self._indexes = indexes or open_indexes(manifest)

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""
        index = self._indexes.confirmed(video)
        return POOL.decode(self._manifest.file(video), index, pick(index.count)).frames

    def decoders(self) -> dict[str, int]:
        """Return how many videos of the data set each decoder reads, by its name and version."""
        return self._indexes.decoders()


class DecodedFiles:
    """Decodes files that belong to no prepared data set; nothing is written next to them.

    Args:
        manifest: the files.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._read: Counter[str] = Counter()

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""
        path = self._manifest.file(video)
        index = POOL.confirm(path, POOL.index(path))
        self._read[versioned(index.reader)] += 1
        return POOL.decode(path, index, pick(index.count)).frames

    def decoders(self) -> dict[str, int]:
        """Return how many of the videos read so far each decoder read, by its name and version."""
        return dict(sorted(self._read.items()))


class CachedFrames:
    """Decodes each video once per machine. Arguments as for ``DecodedFrames``."""

    def __init__(self, manifest: Manifest, indexes: FrameIndexes | None = None) -> None:
        self._manifest = manifest
        self._indexes = indexes or open_indexes(manifest)
        self._rows = {(video.split, video.id): row for row, video in enumerate(manifest.videos)}
        self._shapes = [self._indexes.shape(video) for video in manifest.videos]
        sizes = np.array([math.prod(shape) for shape in self._shapes], np.int64)
        header = _CHECKSUM_BYTES * len(sizes)
        self._offsets = header + np.concatenate([[0], np.cumsum(sizes)])
        _discard_old(manifest)
        path = manifest.directory / f".frames-{manifest.content_hash[:16]}-{self._indexes.digest()[:16]}.bin"
        _create(path, int(self._offsets[-1]))
        self._bytes = np.memmap(path, np.uint8, "r+")
        self._checksums = self._bytes[:header].view(np.uint64)
        self._verified = np.zeros(len(sizes), bool)

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""
        index = self._indexes.confirmed(video)
        row = self._rows[video.split, video.id]
        shape = (index.count, index.height, index.width, 3)
        if shape != self._shapes[row]:  # not known when the cache was laid out
            return POOL.decode(self._manifest.file(video), index, pick(index.count)).frames
        stored = self._bytes[self._offsets[row] : self._offsets[row + 1]].reshape(shape)
        if not self._verified[row]:
            if self._checksums[row] != _checksum(stored):
                frames = POOL.decode(self._manifest.file(video), index, np.arange(index.count)).frames
                if frames.shape != shape:
                    return frames[pick(index.count)]
                stored[...] = frames
                self._checksums[row] = _checksum(frames)
            self._verified[row] = True
        return stored[pick(index.count)]

    def decoders(self) -> dict[str, int]:
        """Return how many videos of the data set each decoder read, by its name and version."""
        return self._indexes.decoders()


def open_frames(manifest: Manifest, progress: Progress | None = None) -> FrameSource:
    """Return the fastest source for a data set: cached where it is small and can be written, else decoding.

    Args:
        manifest: the data set.
        progress: called with (files done, files in all) while the frame index of a data set is made that has none yet.
    """
    indexes = open_indexes(manifest, progress)
    if sum(math.prod(indexes.shape(video)) for video in manifest.videos) <= LIMIT:
        try:
            return CachedFrames(manifest, indexes)
        except (OSError, StorageError) as error:
            log.warning("%s: no cache, so videos are decoded every time (slower): %s", manifest.directory, error)
    return DecodedFrames(manifest, indexes)


def _discard_old(manifest: Manifest) -> None:
    """Remove caches of earlier versions: they are named by the content alone, and may hold other frames."""
    with suppress(OSError):
        for path in manifest.directory.glob(".frames-*.bin"):
            if _OLD.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _checksum(frames: Frames) -> np.uint64:
    """Return a CRC-32 that is never 0, which is what an empty slot holds."""
    return np.uint64(zlib.crc32(np.ascontiguousarray(frames).data) | 1 << 32)


def _create(path: Path, size: int) -> None:
    """Create the file in one step, if it is not there, with all its blocks.

    A hole in it would be filled by a write through the map, and a disk that is full by then kills the writer.
    """
    if path.exists() and path.stat().st_size == size:
        with storage_errors(path), path.open("r+b") as stream:  # a copy may have come with holes
            os.posix_fallocate(stream.fileno(), 0, size)
        return
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
    with storage_errors(path):
        try:
            with partial.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, size)
            if not path.exists() or path.stat().st_size != size:
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
