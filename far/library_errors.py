"""Errors of libraries as FARLab's own types: whoever runs a trial decides by type what happens next."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from far.errors import DivergedError, FarError, LostError, OutOfMemoryError, StorageError
from far.store.atomic import FULL, UNWRITABLE, scratch_path, storage_error

_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "bad_alloc",
    # the same on a GPU, whose libraries each have words of their own for it, above all when the GPU is shared
    "out_of_memory",
    "memoryallocation",
    "_status_alloc_failed",
    "_status_not_initialized",  # a handle that finds no room for its workspace
    "unable to find a valid cudnn algorithm",
    "unable to find an engine",
    "nvml_success == r",  # torch's allocator, while it writes the message of the error
)
"""What allocators of torch, oneDNN, the C++ library and CUDA's libraries say; only torch's own for CUDA has a type."""
_DEVICE = ("cuda error", "cuda driver error", "cuda runtime error", "cuda failure", "cublas_status_", "cudnn_status_",
           "cusolver_status_", "cudnn error", "cublas error", "triton error [cuda]", "nccl error",
           "device-side assert")  # fmt: skip
"""What says that a GPU has failed at something other than memory. The process can compute nothing on it any more."""
_LOSS_SCALE = "loss scale already at minimum"
"""DeepSpeed, when no fp16 gradient is finite however small the loss is scaled."""
_ONEDNN = "could not create a primitive"
"""All that oneDNN says when it finds no memory for its code; what it does not support is a "primitive descriptor"."""
_PROBE_BYTES = 2**20


def classify_error(error: BaseException, directory: Path | None = None) -> BaseException:
    """Return the ``FarError`` that an error stands for, or the error itself if it is nothing known.

    Args:
        error: what was raised.
        directory: where the trial writes; asked for room when a writer does not say why it failed.
    """
    if isinstance(error, FarError):
        return error
    chain = list(_chain(error))
    for e in chain:
        if isinstance(e, OSError) and (
            e.errno in FULL or (e.errno in UNWRITABLE and _is_within(e.filename, directory))
        ):
            return storage_error(e, _place(e, directory)) or error
    if any(_is_memory(e) for e in chain):
        return OutOfMemoryError(_first_line(error))
    if any(_is_device(e) for e in chain):
        return LostError(f"the GPU failed: {_first_line(error)}")
    if any(_LOSS_SCALE in str(e) for e in chain):
        return DivergedError("no gradient is finite in fp16, however small the loss is scaled")
    if directory is not None and isinstance(error, RuntimeError | OSError):
        return write_problem(directory) or error
    return error


def write_problem(directory: Path) -> StorageError | None:
    """Return why a mebibyte cannot be written, None if it can; ``statvfs`` ignores quotas."""
    probe = scratch_path(directory / "room")
    try:
        with probe.open("wb") as stream:
            stream.write(bytes(_PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return storage_error(error, directory)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return None


def _is_within(name: object, directory: Path | None) -> bool:
    """Return whether the error is about a file of the trial and not, e.g., a video on another disk."""
    return directory is not None and isinstance(name, str) and directory.absolute() in Path(name).absolute().parents


def _place(error: OSError, directory: Path | None) -> Path:
    return Path(error.filename) if isinstance(error.filename, str) else directory or Path()


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    # torch.OutOfMemoryError is a RuntimeError, and so is what its CPU allocator raises.
    said = str(error).strip().lower()
    return isinstance(error, RuntimeError) and (said == _ONEDNN or any(text in said for text in _MEMORY))


def _is_device(error: BaseException) -> bool:
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(text in said for text in _DEVICE)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
