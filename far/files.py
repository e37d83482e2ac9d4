"""Files of a trial: where they lie, and writing so that a kill leaves the old or the new, never half.

The order of writing is the protocol: ``trial.json`` first, metrics and checkpoints on the way, ``result.json``
last. A trial is finished when its ``result.json`` parses and says so; any other goes on from its checkpoint.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import FarError, StorageError, StorageFullError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (
    errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EREMOTEIO, errno.ETIMEDOUT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.EACCES, errno.EPERM,
)  # fmt: skip
"""What a file system says that was remounted read-only, is broken, or whose server or device is gone."""
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that has no file locks."""


ABANDONED = 7 * 24 * 3600.0
"""Seconds after which what another machine left half written is taken for abandoned."""
_FOREIGN = re.compile(r"\..+\.(?:tmp|partial)")


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
    """Turn what a full, read-only or broken file system says into the error that stops a sweep cleanly.

    Raises:
        StorageError: ``path`` cannot be written; a ``StorageFullError`` if there is no room for it.
    """
    try:
        yield
    except OSError as error:
        if (typed := storage_error(error, path)) is None:
            raise
        raise typed from error


def storage_error(error: OSError, path: Path) -> StorageError | None:
    """Return what an error says about the storage of a path, None if it says nothing about it."""
    if error.errno in FULL:
        return StorageFullError(f"no space left to write {path}; free some and run the same command again")
    if error.errno in UNWRITABLE:
        return StorageError(
            f"{path} cannot be written ({error.strerror}); mend that and run the same command again: "
            "what had finished is kept"
        )
    return None


@cache
def machine() -> str:
    """Return what tells where a process number means the same process: this boot, and this container's numbers."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        text = boot.read_text() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        text = socket.gethostname()
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def scratch_path(path: Path, suffix: str = "partial") -> Path:
    """Return where to write what becomes ``path`` in one step: a name that tells whose it is."""
    return path.with_name(f".{path.name}.{machine()}.{os.getpid()}.{suffix}")


def clear_abandoned(*folders: Path) -> None:
    """Remove what processes of this machine that are gone have left half written in folders.

    What another machine's processes left cannot be told from what they are writing; it goes when it is a week old.
    """
    own = re.compile(rf"\.(?:.+\.{machine()}|mlflow\.db)\.(\d+)\.(?:tmp|partial)")  # the latter by version 0.1
    for folder in folders:
        with suppress(OSError):
            for entry in list(os.scandir(folder)):
                found = own.fullmatch(entry.name)
                is_old = _FOREIGN.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > ABANDONED
                if is_old or (found and not _is_alive(int(found[1]))):
                    _remove(Path(entry.path))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is somebody else's
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def is_there(text: str) -> bool:
    """Return whether what a person typed names a file or folder; what cannot be a path at all does not."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a byte that no name can have
        return False


def read_head(path: Path, size: int) -> bytes:
    """Return a file's first bytes; a device such as ``/dev/zero`` has no last one."""
    with path.open("rb") as stream:
        return stream.read(size)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace a file in one step: temporary file beside it, fsync, rename, fsync of the directory.

    Raises:
        StorageError: it cannot be written, e.g. because the disk is full; the old file, if any, is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = scratch_path(path, "tmp")
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


def read_json(path: Path, like: Any = None) -> Any:
    """Return the parsed file, or None if it is missing, cut off, not JSON, or not of this type.

    Args:
        path: the file.
        like: e.g. a dataclass of the keys that the caller reads; keys that it does not name may be anything.
    """
    try:
        return parse_json(path.read_bytes(), like)
    except OSError:
        return None


def parse_json(data: bytes, like: Any = None) -> Any:
    """Return what JSON says, or None if it is cut off, not JSON, or not of this type; see ``read_json``."""
    try:
        value = json.loads(data)
        if like is not None:
            _checker(like).validate_json(data, strict=True)
    except (ValueError, RecursionError):
        return None
    return value


@cache
def _checker(like: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(like)


def append_json_line(path: Path, record: dict[str, Any]) -> None:
    """Append one record in one ``write``, so that lines never interleave."""
    line = json.dumps(finite(record), allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as stream:
            if stream.tell() and not _ends_with_newline(path):
                line = "\n" + line  # a kill cut the line before this one; do not let it spoil ours
            stream.write(line.encode())


def read_json_lines(path: Path, like: Any = None) -> list[dict[str, Any]]:
    """Return the whole records of a file; a line that was cut off by a kill, or is not of this type, is left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    records = []
    for line in lines:
        record = parse_json(line, like)
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


def no_locks(path: Path, error: OSError) -> StorageError:
    """Return the error for a file system on which a file cannot be locked."""
    if error.errno not in NO_LOCKS:
        return storage_error(error, path) or StorageError(f"{path} cannot be locked ({error.strerror})")
    return StorageError(
        f"{path} cannot be locked ({error.strerror}): its file system has no file locks (flock); mount it with them "
        "(Lustre: -o flock) or keep the store elsewhere"
    )


def _not_yours(path: Path, error: OSError) -> str:
    """Return what to do about a file that this user may not write."""
    text = f"{path} cannot be written by this user ({error.strerror})"
    with suppress(OSError, KeyError):
        import pwd

        owner = path.stat()
        if owner.st_uid != os.geteuid():
            text += (
                f"; it belongs to {pwd.getpwuid(owner.st_uid).pw_name}, mode {owner.st_mode & 0o777:o}. To share a "
                "store, give its folder to a common group (chgrp -R, chmod -R g+rwX, chmod g+s on the folders) and "
                "let everybody work with `umask 002`"
            )
    return text


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
            StorageError: it cannot be written, or its file system has no locks.
        """
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # less the umask
            except PermissionError as error:
                raise StorageError(_not_yours(self.path, error)) from error
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
            except OSError as error:
                os.close(descriptor)
                raise no_locks(self.path, error) from error
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
        info = read_json(self.path, dict) or {}
        if "pid" not in info:
            return "another process"
        return f"process {info['pid']} on {info.get('host')} since {info.get('since')}"

    def __enter__(self) -> FileLock:
        return self.acquire() if self._descriptor is None else self

    def __exit__(self, *exc: object) -> None:
        self.release()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
