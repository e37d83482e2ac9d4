"""File locks that a reader can trust: one holder on this machine or another, named to whoever comes second."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import socket
import time
from contextlib import suppress
from pathlib import Path

from far.errors import FarError, StorageError
from far.store.atomic import read_json, storage_error, storage_errors

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that has no file locks."""


class LockedError(FarError):
    """Another process holds the lock."""

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

    The file names the holder (host, process, since when) for the error that others get.

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
        descriptor = self._opened()
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_at_its_place(descriptor):
                    break
                os.close(descriptor)  # its folder was renamed while we waited: the lock of that place is another
                descriptor = self._opened()
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

    def _opened(self) -> int:
        with storage_errors(self.path):
            while True:
                with suppress(
                    FileExistsError
                ):  # its folder was renamed while it was looked at, or is a file: see below
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # less the umask
                except PermissionError as error:
                    raise StorageError(_not_yours(self.path, error)) from error
                except FileNotFoundError:  # its folder was renamed between the two
                    if self.path.parent.is_symlink():
                        raise

    def _is_at_its_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

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
