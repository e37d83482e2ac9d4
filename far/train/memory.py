"""Peak memory of one trial in a process that hosts many: counted from the trial's start, not from the process's."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PROC = Path("/proc/self")


def reset_peak(device: torch.device) -> None:
    """Reset the peak: on a GPU the allocator's peak, on a CPU the process's, as far as the system allows it."""
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()  # what the last trial's shapes have left in pieces
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # only Linux has it, and not every sandbox
        (_PROC / "clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Return the bytes that were in use at most since ``reset_peak``.

    Returns:
        On a GPU what tensors took; on a CPU the resident memory of the process. Where the system cannot reset that one,
        it is the most since the process began.
    """
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (_PROC / "status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reserved_memory(device: torch.device) -> int | None:
    """Return the bytes that the allocator took from the GPU at most since ``reset_peak``; None on a CPU.

    What a neighbour on the same GPU cannot have: more than the tensors by what lies between them.
    """
    if device.type != "cuda":
        return None
    import torch

    return int(torch.cuda.max_memory_reserved(device))
