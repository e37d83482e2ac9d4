"""Files of a trial: where they lie, and writing so that a kill leaves the old or the new, never half.

The order of writing is the protocol: ``trial.json`` first, metrics and checkpoints on the way, ``result.json``
last. A trial is finished when its ``result.json`` parses and says so; any other goes on from its checkpoint.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from far.errors import FarError, StorageFullError

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class TrialPaths:
    """Every path of one trial; nothing else spells a file name of the store."""

    directory: Path

    @property
    def key(self) -> str:
        """The trial's key."""
        return self.directory.name

    @property
    def trial(self) -> Path:
        """What is being run: identity, resolved configuration, profile, MLflow run id, attempts."""
        return self.directory / "trial.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, appended as training goes on."""
        return self.directory / "metrics.jsonl"

    @property
    def predictions(self) -> Path:
        """Scores of every evaluated video."""
        return self.directory / "predictions.parquet"

    @property
    def checkpoints(self) -> Path:
        """DeepSpeed checkpoints."""
        return self.directory / "checkpoints"

    @property
    def result(self) -> Path:
        """Written last; its presence is what "done" means."""
        return self.directory / "result.json"

    @property
    def progress(self) -> Path:
        """Where the trial is within its epoch, replaced about once a second while it runs."""
        return self.directory / "progress.json"

    @property
    def cancel(self) -> Path:
        """Its presence asks whoever runs the trial to stop within about a second; a new submission removes it."""
        return self.directory / "cancel"

    @property
    def log(self) -> Path:
        """Everything the trial's processes print."""
        return self.directory / "log.txt"

    @property
    def lock(self) -> Path:
        """Held by whoever writes into the directory."""
        return self.directory / "writer.lock"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" into the error that stops a sweep cleanly."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFullError(
                f"no space left to write {path}; free some and run the same command again"
            ) from error
        raise


def is_there(text: str) -> bool:
    """Return whether what a person typed names a file or folder; what cannot be a path at all does not."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a byte that no name can have
        return False


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace a file in one step: temporary file beside it, fsync, rename, fsync of the directory.

    Raises:
        StorageFullError: the disk or the quota is full; the old file, if any, is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; numbers that are not finite become null, which is what strict JSON can say."""
    write_atomic(path, json.dumps(finite(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the parsed file, or None if it is missing, cut off, or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def append_json_line(path: Path, record: dict[str, Any]) -> None:
    """Append one record in one ``write``, so that lines never interleave."""
    line = json.dumps(finite(record), allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as stream:
            if stream.tell() and not _ends_with_newline(path):
                line = "\n" + line  # a kill cut the line before this one; do not let it spoil ours
            stream.write(line.encode())


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole records of a file; a line that was cut off by a kill is left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    records = []
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return records


def finite(value: Any) -> Any:
    """Return plain data with NaN and infinities replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


class LockedError(FarError):
    """Somebody else holds the lock."""

    exit_code = 2
    kind = "locked"


class FileLock:
    """An advisory lock on a file, released by the kernel when its holder dies, however it dies.

    The file tells who holds it (host, process, since when), for the message that the second comer gets.

    Args:
        path: the lock file; it stays when the lock is released.
        what: what is locked, in the user's words, e.g. ``"study head_ratio"``.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self._descriptor: int | None = None

    def acquire(self, timeout: float = 0.5) -> FileLock:
        """Take the lock, waiting at most ``timeout`` seconds (not 0: a look at the lock takes it briefly).

        Raises:
            LockedError: another process holds it.
        """
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise LockedError(f"{self.what} is in use by {self.owner()}") from None
                time.sleep(0.05)
        self._descriptor = descriptor
        info = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with storage_errors(self.path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(info).encode(), 0)
        return self

    def release(self) -> None:
        """Give the lock up; releasing twice is harmless."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def owner(self) -> str:
        """Return who holds the lock, as text."""
        info = read_json(self.path) or {}
        if "pid" not in info:
            return "another process"
        return f"process {info['pid']} on {info.get('host')} since {info.get('since')}"

    def __enter__(self) -> FileLock:
        return self.acquire() if self._descriptor is None else self

    def __exit__(self, *exc: object) -> None:
        self.release()
