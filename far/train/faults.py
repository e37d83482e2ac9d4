"""Errors of libraries as FARLab's own types: whoever runs a trial decides by type what happens next."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from far.errors import FarError, OutOfMemoryError, StorageFullError
from far.files import FULL

_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "cuda error: out of memory", "bad_alloc")
"""What allocators of torch, oneDNN and the C++ library say; only CUDA's has a type of its own."""
_ONEDNN = "could not create a primitive"
"""All that oneDNN says when it finds no memory for its code; what it does not support is a "primitive descriptor"."""
_PROBE_BYTES = 2**20


def typed(error: BaseException, directory: Path | None = None) -> BaseException:
    """Return the ``FarError`` that an error stands for, or the error itself if it is nothing known.

    Args:
        error: what was raised.
        directory: where the trial writes; asked for room when a writer does not say why it failed.
    """
    if isinstance(error, FarError):
        return error
    chain = list(_chain(error))
    if any(isinstance(e, OSError) and e.errno in FULL for e in chain):
        return _full(directory, error)
    if any(_is_memory(e) for e in chain):
        return OutOfMemoryError(_first_line(error))
    if directory is not None and isinstance(error, RuntimeError | OSError) and not has_room(directory):
        return _full(directory, error)
    return error


def has_room(directory: Path) -> bool:
    """Return whether a mebibyte can be written; the numbers of ``statvfs`` know nothing of quotas."""
    probe = directory / f".room.{os.getpid()}"
    try:
        with probe.open("wb") as stream:
            stream.write(bytes(_PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error.errno not in FULL
    finally:
        probe.unlink(missing_ok=True)
    return True


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # torch.OutOfMemoryError is a RuntimeError, and so is what its CPU allocator raises.
    said = str(error).strip().lower()
    return isinstance(error, RuntimeError) and (said == _ONEDNN or any(text in said for text in _MEMORY))


def _full(directory: Path | None, error: BaseException) -> StorageFullError:
    name = next((e.filename for e in _chain(error) if isinstance(e, OSError) and e.filename), directory)
    return StorageFullError(f"no space left to write {name}; free some and run the same command again")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
