"""What the errors of libraries are taken for."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from far.errors import ConfigError, OutOfMemoryError, StorageFullError
from far.train.library_errors import typed


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_no_memory(error: BaseException) -> None:
    assert isinstance(typed(error), OutOfMemoryError)


def test_no_room_on_the_disk_is_seen_behind_another_error() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "model.pt")
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error
    except RuntimeError as error:
        found = typed(error)
    assert isinstance(found, StorageFullError)
    assert "model.pt" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive descriptor for the linear primitive"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.ENOENT, "No such file or directory"),
        ConfigError("the name out of memory is not known"),
    ],
)
def test_anything_else_is_itself(error: BaseException, tmp_path: Path) -> None:
    assert typed(error, tmp_path) is error
