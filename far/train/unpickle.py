"""Opening DeepSpeed's checkpoints without running what their pickles ask for.

A checkpoint is a pickle, and whoever may write into a store could make it run code where it is loaded. DeepSpeed's own
loaders call ``torch.load(weights_only=False)``; PyTorch's switch for the whole process overrules them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from far.errors import DamagedError, FarError, OutOfMemoryError, WeightsError
from far.library_errors import classify_error

DEEPSPEED = (
    "deepspeed.utils.tensor_fragment.fragment_address",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
)
"""What DeepSpeed 0.18 and 0.19 store besides tensors and plain values, ZeRO 0 to 3; none does anything when built."""
_FORCE, _NEVER = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_WANTED = re.compile(
    r"GLOBAL ([\w.]+) was not an allowed|whose module ([\w.]+) is blocked|[Uu]nsupported class ([\w.]+)"
    r"|unrecognized function <?([\w. ]+)"
)


@contextlib.contextmanager
def weights_only(classes: Sequence[str] = ()) -> Iterator[None]:
    """Within it, ``torch.load`` builds tensors, plain values and ``classes`` only, whatever its caller asked for."""
    import torch

    before = {name: os.environ.pop(name, None) for name in (_FORCE, _NEVER)}
    os.environ[_FORCE] = "1"
    try:
        with torch.serialization.safe_globals(_found(classes)):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def loading(checkpoint: Path, classes: Sequence[str] = ()) -> Iterator[None]:
    """Load from a checkpoint with ``weights_only``; whatever a library raises about it becomes an error of one line.

    Args:
        checkpoint: its folder, for the message.
        classes: dotted names of what may be built besides tensors and plain values.

    Raises:
        WeightsError: loading it would run code.
        OSError: it cannot be read just now, e.g. the file system is away.
        OutOfMemoryError: it is in order, but there is no room for it.
        DamagedError: it is not what a checkpoint is.
    """
    try:
        with weights_only(classes):
            yield
    except FarError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        if isinstance(known := classify_error(error), OutOfMemoryError):
            raise known from error
        if wanted := _asks_for(error):
            raise WeightsError(
                f"{checkpoint}: refused, because loading it would run code: a pickle in it asks for '{wanted}'. "
                "farlab writes no such checkpoint; remove it, and ask who may write there"
            ) from error
        raise DamagedError(f"{checkpoint} cannot be loaded: {_first_line(error)}") from error


def _found(classes: Sequence[str]) -> list[Any]:
    found = []
    for name in classes:
        module, _, attribute = name.rpartition(".")
        with contextlib.suppress(ImportError, AttributeError):  # another version of DeepSpeed keeps it elsewhere
            found.append(getattr(importlib.import_module(module), attribute))
    return found


def _asks_for(error: Exception) -> str | None:
    """Return what a pickle asks for beyond plain data, None if it is no such pickle."""
    match = _WANTED.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    return next((group for group in match.groups() if group), None) if match else None


def _first_line(error: Exception) -> str:
    # PyTorch wraps what was wrong into advice on how to load the file all the same.
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return f"{type(error).__name__}: {(text.splitlines() or [''])[0]}"[:300]
