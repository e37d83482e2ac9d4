"""What a person reads when something fails that no command foresaw: one line with what to do, never a traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from far.errors import ConfigError, FarError, StorageFullError
from far.store.atomic import FULL
from far.text import printable
from orchestrator.executors.signals import interrupt_again

ROOT = Path(__file__).resolve().parents[2]
"""Where the code lies: a file missing here is no user's mistake."""

_SAID = {
    errno.EACCES: "permission denied: change its rights, or name another place",
    errno.EPERM: "not permitted: change its rights, or name another place",
    errno.EROFS: "cannot be written: the file system is read-only; name another place",
    errno.ENOTDIR: "a file stands where a folder is needed; name another place",
    errno.EISDIR: "is a folder where a file is needed",
    errno.EEXIST: "exists already, and is not what is needed there; name another place",
    errno.ENOTEMPTY: "holds something that is not what is needed there: move it away, or name another place",
    errno.EXDEV: "lies on another file system than what is to be moved there; name another place",
    errno.EBUSY: "is in use by another program; run the same command again",
    errno.EFBIG: "would become larger than its file system, or `ulimit -f`, allows",
    errno.ENOENT: "no such file or folder",
    errno.ENAMETOOLONG: "no file can have a name of this length",
    errno.ELOOP: "its links lead in a circle",
    errno.EINVAL: "cannot be a path here",
}
_LOOP = re.compile(r"Symlink loop from ['\"](.*)['\"]$")
_MACHINE = {
    errno.EMFILE: "too many files are open: raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "the machine is out of memory",
    errno.EAGAIN: "no more processes or threads can be started: raise `ulimit -u`",
    errno.EIO: "input/output error: the disk, or the network file system, fails",
    errno.ESTALE: "the network file system has lost the file: run the same command again",
}


def as_ours(error: Exception) -> FarError | None:
    """Return a system error as one that says what to do, None if the user can do nothing about it."""
    if isinstance(error, RuntimeError) and (loop := _LOOP.match(str(error))):  # as Path.resolve says it
        return ConfigError(_SAID[errno.ELOOP], where=loop[1])
    if not isinstance(error, OSError):
        return None
    if error.errno in FULL:
        return StorageFullError(f"no space left to write {error.filename or 'files'}; free some and run it again")
    try:
        Path.cwd()
    except OSError:
        return ConfigError("the current folder is gone: change to one that is there")
    path = error.filename2 if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EXDEV) else None
    path = path or error.filename
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if isinstance(path, str) and error.errno in _SAID and not _own(path):
        return ConfigError(_SAID[error.errno], key=_role(path), where=path)
    if error.errno in _MACHINE:
        return FarError(": ".join(filter(None, (str(path or ""), _MACHINE[error.errno]))))
    return None


def unforeseen(error: BaseException) -> str:
    """Keep the traceback in a file; return the one line that a person gets."""
    what = f"{type(error).__name__}: {error}".split("\n", 1)[0][:300]
    kept = keep("".join(traceback.format_exception(error)))
    return f"error: unforeseen ({what}). This is a fault of FARLab: please report it with {kept}"


def keep(text: str) -> str:
    """Write a traceback where it can be found again; return words that name the file."""
    name = f"farlab-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-"
    heading = f"{' '.join(map(printable, sys.argv))}\n{sys.version}\n\n"
    try:
        descriptor, path = tempfile.mkstemp(prefix=name, suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(heading + text)
    except OSError as error:
        return f"its traceback, which no folder for temporary files would take ({error.strerror})"
    return path


def quiet_hooks(show: Callable[[str], None]) -> None:
    """Keep tracebacks of threads and finalisers off the terminal as well: they go to a file each.

    An interrupt that meets a finaliser is repeated; it would be lost.
    """

    def in_thread(failure: Any) -> None:
        if failure.exc_type is not SystemExit and failure.exc_value is not None:
            show(unforeseen(failure.exc_value))

    def unraisable(failure: Any) -> None:
        if isinstance(failure.exc_value, KeyboardInterrupt):
            interrupt_again()
        elif failure.exc_value is not None:
            keep("".join(traceback.format_exception(failure.exc_value)) + f"\nignored in {failure.object!r}\n")

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


def _own(path: str) -> bool:
    """Return whether a path is one of the installed program; links are not followed, they may be the matter."""
    return "site-packages" in ROOT.parts and ROOT in Path(path).absolute().parents


def _role(path: str) -> str | None:
    """Return which setting of the workspace a path comes from, if it does."""
    from orchestrator.workspace.settings import load_settings  # noqa: PLC0415  (only when something has failed)

    try:
        settings = load_settings()
        place = Path(path).absolute()
    except (FarError, OSError, ValueError, RuntimeError):
        return None
    roles = ("store", "data_root", "weights_root")
    return next((role for role in roles if place.is_relative_to(getattr(settings, role))), None)
