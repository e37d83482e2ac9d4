"""Whether the files of a data set are still those that were prepared: by size and time, by content where these differ.

A trial's key names its data by content. A file that was exchanged after ``farlab data prepare`` would be trained on and
tested under the key of the one before it.
"""

from __future__ import annotations

import shlex
import threading
from contextlib import suppress
from pathlib import Path

from far.data.sources.manifest import Manifest, Video
from far.data.sources.resized import account, prepare_command
from far.errors import DataError, StorageError
from far.store.atomic import append_json_line, file_sha256, read_json_lines

JOURNAL = ".unchanged.jsonl"
"""File next to the manifest: files of other size or time whose content was found to be the same."""


class ChangedError(DataError):
    """The content of a file is no longer what was prepared, or it is gone."""


class UnchangedFiles:
    """Compares files with what was prepared, each state of a file once.

    Args:
        manifest: the data set.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._path = manifest.directory / JOURNAL
        self._lock = threading.Lock()
        self._same: set[tuple[object, ...]] = set()
        for record in read_json_lines(self._path):
            with suppress(KeyError, TypeError):
                self._same.add((record["sha256"], record["path"], record["size"], record["mtime_ns"]))

    def check(self, video: Video, prepared: tuple[int, int] | None) -> None:
        """Compare a video's file with what was prepared.

        Args:
            video: of the data set.
            prepared: size in bytes and modification time in nanoseconds then; None if not known.

        Raises:
            ChangedError: its content is another, or it is gone.
        """
        path = self._manifest.file(video)
        try:
            state = path.stat()
        except OSError as error:
            if video.sha256:  # frames that are cached must not stand in for it
                raise ChangedError(
                    self._message(path, f"cannot be found ({error.strerror}), but was prepared")
                ) from None
            return  # it was not there either when the data set was prepared
        now = (state.st_size, state.st_mtime_ns)
        if now == prepared or not video.sha256:
            return
        key = (video.sha256, video.path, *now)
        if key in self._same:
            return
        if file_sha256(path) != video.sha256:
            raise ChangedError(self._message(path, "is not the file that was prepared"))
        with self._lock:
            self._same.add(key)
            record = dict(zip(("sha256", "path", "size", "mtime_ns"), key, strict=True))
            with suppress(OSError, StorageError):  # then it is read again in the next process
                append_json_line(self._path, record)

    def _message(self, path: Path, what: str) -> str:
        words, again = prepare_command(self._manifest), ""
        if words is not None:
            make = "make it again" if account(self._manifest.note) else "make another data set of what is there now"
            again = f", or {make}: {shlex.join(words)}"
        return f"{path} {what} for '{self._manifest.directory.name}': put that one back{again}"
