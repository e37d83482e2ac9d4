"""The GPU that a process was given: whether torch can use it, and why not. Nothing falls back to the CPU in silence."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from far.errors import ConfigError, OutOfMemoryError
from far.library_errors import classify_error

if TYPE_CHECKING:
    import torch

_DRIVER = Path("/proc/driver/nvidia")
"""What NVIDIA's kernel driver says of itself, torch or not."""
_DEVICES = Path("/dev")


def usable(local_rank: int = 0) -> bool:
    """Return whether torch can compute on the GPU of this process; False if the process was given none.

    A process is given a GPU by ``CUDA_VISIBLE_DEVICES``, which Ray sets, and else sees all of the machine's.

    Args:
        local_rank: which of the visible GPUs.

    Raises:
        ConfigError: there is a GPU and torch cannot use it, with driver and wheel.
        OutOfMemoryError: nothing fits on it any more.
    """
    import torch

    given = given_gpus()
    if torch.cuda.is_available():
        why = _fault(local_rank)
        if why is None:
            return True
        raise _unusable(given, why)
    if given:
        raise _unusable(given, "torch finds no GPU")
    return False


def answers(device: torch.device) -> bool:
    """Return whether a device still computes; a GPU's context that has died fails at every call, whatever it was."""
    if device.type != "cuda":
        return True
    import torch

    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def given_gpus() -> str | None:
    """Return in words which GPUs this process was given, None if it was given none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # the first that is none ends the list, as CUDA reads it
        count = next((n for n, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
        return f"CUDA_VISIBLE_DEVICES={visible}" if count else None
    present = sorted(path.name for path in _DEVICES.glob("nvidia[0-9]*"))
    return ", ".join(f"/dev/{name}" for name in present) or None


def driver() -> str | None:
    """Return the version of NVIDIA's kernel driver, None where there is none."""
    try:
        text = (_DRIVER / "version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module(?: for \S+)?\s+([0-9][0-9.]*)", text)
    return found[1] if found else None


def wheel() -> str:
    """Return which torch this is and what it was built for."""
    import torch

    cuda = torch.version.cuda
    return f"torch {torch.__version__}, {f'built for CUDA {cuda}' if cuda else 'built without CUDA'}"


def _fault(local_rank: int) -> str | None:
    """Return why a first computation fails on a GPU that torch sees, None if it does not."""
    import torch

    try:
        ones = torch.ones(2, device=f"cuda:{local_rank}")
        return None if float(ones.sum()) == 2 else "1 + 1 is not 2 on it"
    except Exception as error:  # a card that the wheel has no kernels for, an ordinal that is not there, …
        if isinstance(cause := classify_error(error), OutOfMemoryError):
            raise cause from error
        return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _unusable(given: str | None, why: str) -> ConfigError:
    version = driver()
    return ConfigError(
        f"torch cannot use the GPU that this process was given ({given or 'visible'}): {why} "
        f"({wheel()}; NVIDIA driver {version or 'not found'}). Install the wheel of torch that goes with the driver "
        "(pytorch.org/get-started), or train on the CPU on purpose: resources.gpus: 0 in the study, or "
        "CUDA_VISIBLE_DEVICES= in the environment",
        key="resources.gpus",
    )
