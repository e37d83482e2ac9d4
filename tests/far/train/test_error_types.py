"""What the errors of libraries are taken for."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from far.errors import ConfigError, DivergedError, LostError, OutOfMemoryError, StorageFullError
from far.library_errors import classify_error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("NCCL error: unhandled cuda error. Last error: Cuda failure 2 'out of memory'"),
        RuntimeError("NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp:1131"),
    ],
)
def test_no_memory(error: BaseException) -> None:
    assert isinstance(classify_error(error), OutOfMemoryError)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later"
        ),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
    ],
)
def test_a_gpu_that_fails_is_a_lost_process(error: BaseException) -> None:
    found = classify_error(error)
    assert isinstance(found, LostError)
    assert str(error).splitlines()[0] in str(found)


def test_a_loss_scale_at_its_minimum_is_a_diverged_trial() -> None:
    said = Exception("Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.")
    assert isinstance(classify_error(said), DivergedError)


def test_no_room_on_the_disk_is_seen_behind_another_error() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "model.pt")
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error
    except RuntimeError as error:
        found = classify_error(error)
    assert isinstance(found, StorageFullError)
    assert "model.pt" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive descriptor for the linear primitive"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu"),
        OSError(errno.ENOENT, "No such file or directory"),
        ConfigError("the name out of memory is not known"),
    ],
)
def test_anything_else_is_itself(error: BaseException, tmp_path: Path) -> None:
    assert classify_error(error, tmp_path) is error
