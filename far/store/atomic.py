"""Reading and writing such that a kill leaves the old file or the new one, never half."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from far.errors import StorageError, StorageFullError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


FULL = (errno.ENOSPC, errno.EDQUOT)

UNWRITABLE = (
    errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EREMOTEIO, errno.ETIMEDOUT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.EACCES, errno.EPERM,
)  # fmt: skip
"""What a file system says that was remounted read-only, is broken, or whose server or device is gone."""

ABANDONED = 7 * 24 * 3600.0
"""Seconds after which what another machine left half written is taken for abandoned."""


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
    """Return an ID of the namespace in which process numbers are unique: this boot and this container."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        text = boot.read_text() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        text = socket.gethostname()
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def scratch_path(path: Path, suffix: str = "partial") -> Path:
    """Return a temporary path, named by its owner, to be renamed to ``path``."""
    return path.with_name(f".{path.name}.{machine()}.{os.getpid()}.{suffix}")


def clear_abandoned(*folders: Path) -> None:
    """Remove what ``is_abandoned`` in folders."""
    for folder in folders:
        with suppress(OSError):
            for entry in list(os.scandir(folder)):
                if is_abandoned(Path(entry.path)):
                    _remove(Path(entry.path))


def is_abandoned(path: Path, *suffixes: str) -> bool:
    """Return whether a path was left half written by a process of this machine that is gone (``scratch_path``).

    Files of another machine may still be in use; they count as abandoned when a week old.

    Args:
        path: file or folder.
        *suffixes: of names that count besides ``tmp`` and ``partial``.
    """
    endings = "|".join(("tmp", "partial", *suffixes))
    # the second form by version 0.1
    own = re.fullmatch(rf"\.(?:.+\.{machine()}|mlflow\.db)\.(\d+)\.(?:{endings})", path.name)
    if own:
        return not _is_alive(int(own[1]))
    is_foreign = re.fullmatch(rf"\..+\.(?:{endings})", path.name)
    return bool(is_foreign) and time.time() - path.lstat().st_mtime > ABANDONED


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
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


def write_atomic(path: Path, content: str | bytes | Callable[[IO[bytes]], object]) -> None:
    """Replace a file in one step: temporary file in the same folder, fsync, rename, fsync of the directory.

    Args:
        path: the file.
        content: what it holds, or what writes that into a stream, piece by piece.

    Raises:
        StorageError: it cannot be written, e.g. because the disk is full; the old file, if any, is untouched.
    """
    data: Any = content.encode() if isinstance(content, str) else content
    temporary = scratch_path(path, "tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                if callable(data):
                    data(stream)
                else:
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
            checker(like).validate_json(data, strict=True)
    except (ValueError, RecursionError):
        return None
    return value


@cache
def checker(like: Any) -> TypeAdapter[Any]:
    """Return what validates a type, e.g. a dataclass; made once."""
    from pydantic import TypeAdapter  # noqa: PLC0415  (decoding processes need none)

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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
