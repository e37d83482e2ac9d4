"""Where the frames of clips come from: decoded each time, or kept on disk for all epochs and all trials."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from far.data.decoding.decoder import Decoded, Frames, Pick, versioned
from far.data.decoding.disk_budget import FOLDER
from far.data.decoding.disk_cache import LARGEST, DiskCache, frames_key, say_once
from far.data.decoding.indexes import FrameIndexes, open_indexes
from far.data.decoding.pool import POOL
from far.data.sources.demo_writer import Progress
from far.data.sources.manifest import Manifest, Video

if TYPE_CHECKING:
    from far.config.data import DataConfig
    from far.data.decoding.frame_index import FrameIndex

log = logging.getLogger(__name__)

LEAST_SHARE = 0.1
"""Share of a data set's frames from which it is cached: less would save next to nothing."""
_OLD = re.compile(r"\.frames-[0-9a-f]{16}(-[0-9a-f]{16})?\.bin(\.[0-9a-f]{8}\.partial)?")


class FrameSource(Protocol):
    """Where a trial's frames come from, where no other trial has them (``far.data.sharing``)."""

    @property
    def decoded(self) -> int:
        """How many times this source has decoded frames of a video; the first check of a whole file does not count."""

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""

    def decoders(self) -> dict[str, int]:
        """Return how many videos of the data set each decoder reads, by its name and version."""


class _Decoding:
    """Counts what is decoded, by all threads."""

    def __init__(self) -> None:
        self.decoded = 0
        self._counting = threading.Lock()

    def _decode(self, path: Path, index: FrameIndex, wanted: NDArray[np.int64]) -> Decoded:
        frames = POOL.decode(path, index, wanted)
        with self._counting:
            self.decoded += 1
        return frames


class DecodedFrames(_Decoding):
    """Decodes every time.

    Args:
        manifest: the data set.
        indexes: its videos' frame indexes; by default those stored with the manifest.
    """

    def __init__(self, manifest: Manifest, indexes: FrameIndexes | None = None) -> None:
        super().__init__()
        self._manifest = manifest
        self._indexes = indexes or open_indexes(manifest)

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""
        index = self._indexes.confirmed(video)
        return self._decode(self._manifest.file(video), index, pick(index.count)).frames

    def decoders(self) -> dict[str, int]:
        """Return how many videos of the data set each decoder reads, by its name and version."""
        return self._indexes.decoders()


class DecodedFiles(_Decoding):
    """Decodes files that belong to no prepared data set; nothing is written next to them.

    Args:
        manifest: the files.
    """

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self._manifest = manifest
        self._read: Counter[str] = Counter()

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""
        path = self._manifest.file(video)
        index = POOL.confirm(path, POOL.index(path))
        self._read[versioned(index.reader)] += 1
        return self._decode(path, index, pick(index.count)).frames

    def decoders(self) -> dict[str, int]:
        """Return how many of the videos read so far each decoder read, by its name and version."""
        return dict(sorted(self._read.items()))


class CachedFrames(DecodedFrames):
    """Decodes a video once and keeps all its frames on disk.

    Args:
        manifest: the data set.
        cache: where they are kept.
        indexes: the videos' frame indexes; by default those stored with the manifest.
        chosen: of which files, by SHA-256; by default of all.
    """

    def __init__(
        self,
        manifest: Manifest,
        cache: DiskCache,
        indexes: FrameIndexes | None = None,
        chosen: frozenset[str] | None = None,
    ) -> None:
        super().__init__(manifest, indexes)
        self._cache, self._chosen = cache, chosen
        self._keys: dict[tuple[str, str], tuple[FrameIndex, str]] = {}

    def read(self, video: Video, pick: Pick) -> Frames:
        """Return the frames that ``pick`` asks for, in its order, or raise ``VideoError``."""
        index = self._indexes.confirmed(video)
        path, wanted = self._manifest.file(video), pick(index.count)
        if not self._is_chosen(video):
            return self._decode(path, index, wanted).frames
        key, shape = self._key(video, index), (index.count, index.height, index.width, 3)
        frames = self._cache.read(key, shape, wanted)
        if frames is not None:
            return frames
        if not self._cache.wants(shape):
            return self._decode(path, index, wanted).frames
        decoded = self._decode(path, index, np.arange(index.count))
        if decoded.frames.shape == shape and versioned(decoded.decoder) == versioned(index.reader):
            self._cache.write(key, decoded.frames)  # what another decoder had to stand in for is not kept
        return decoded.frames[wanted]

    def _is_chosen(self, video: Video) -> bool:
        return bool(video.sha256) and (self._chosen is None or video.sha256 in self._chosen)

    def _key(self, video: Video, index: FrameIndex) -> str:
        name = (video.split, video.id)
        known = self._keys.get(name)
        if known is None or known[0] is not index:
            known = self._keys[name] = index, frames_key(video.sha256, index)
        return known[1]


def open_frames(manifest: Manifest, data: DataConfig, progress: Progress | None = None) -> FrameSource:
    """Return the fastest source for a data set: decoded videos are kept on disk as far as its settings allow.

    Args:
        manifest: the data set.
        data: ``cache`` and ``cache_folder`` count.
        progress: called with (files done, files in all) while the frame index of a data set is made that has none yet.
    """
    indexes = open_indexes(manifest, progress)
    sizes = indexes.sizes(manifest.videos)
    if not data.cache or not _is_worth_it(manifest, sizes, data.cache):
        return DecodedFrames(manifest, indexes)
    _discard_old(manifest)
    folder = manifest.directory / Path(data.cache_folder or FOLDER).expanduser()
    try:
        cache = DiskCache(folder, data.cache, manifest.directory.name)
    except ValueError as error:  # a byte that no name can have
        log.warning("data.cache_folder: %r: %s: videos are decoded every time (slower)", data.cache_folder, error)
        return DecodedFrames(manifest, indexes)
    return CachedFrames(manifest, cache, indexes, _chosen(manifest, sizes, cache.limit))


def _is_worth_it(manifest: Manifest, sizes: NDArray[np.int64], budget: int) -> bool:
    """Return whether a budget holds enough of a data set; where it holds nothing at all, say so."""
    least, total = int(sizes[sizes > 0].min(initial=LARGEST)), int(sizes.sum())
    if budget < least:
        say_once(
            f"{manifest.directory.name}: data.cache: {budget} bytes are fewer than the frames of any video take (the "
            f"smallest: {least}), so videos are decoded every time (slower)"
        )
        return False
    fitting = min(budget, int(sizes[sizes <= LARGEST].sum()))
    if fitting < LEAST_SHARE * total:
        log.debug("%s: %d of %d bytes of frames could be cached: none are", manifest.directory, fitting, total)
        return False
    return True


def _chosen(manifest: Manifest, sizes: NDArray[np.int64], limit: int) -> frozenset[str] | None:
    """Return which files' frames are kept, by SHA-256; None: all of them.

    Of a data set that does not fit, all trials keep the same part, whatever order they read it in: by the order of the
    hashes, as much as fits. If what was not used for longest went instead, each epoch would remove what the next one
    reads first.
    """
    if sizes.sum() <= limit and sizes.max(initial=0) <= LARGEST:
        return None
    chosen: set[str] = set()
    kept = 0
    for sha256, size in sorted(zip((video.sha256 for video in manifest.videos), sizes.tolist(), strict=True)):
        if 0 < size <= min(LARGEST, limit - kept) and sha256 not in chosen:
            chosen.add(sha256)
            kept += size
    return frozenset(chosen)


def _discard_old(manifest: Manifest) -> None:
    """Remove caches of earlier versions, which had one file for all videos."""
    with suppress(OSError):
        for path in manifest.directory.iterdir():
            if _OLD.fullmatch(path.name):
                path.unlink(missing_ok=True)
