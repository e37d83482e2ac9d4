"""What a child of ``farlab doctor`` does: load torch and the decoders, compute once, say as JSON what came of it."""

from __future__ import annotations

import importlib
import json
from typing import Any

from far.errors import FarError
from far.gpu import usable, wheel

DECODERS = ("av", "decord")


def main() -> None:
    """Print one line of JSON."""
    print(json.dumps({**_torch(), "decoders": {name: _loads(name) for name in DECODERS}}))


def _torch() -> dict[str, Any]:
    said: dict[str, Any] = {
        "torch": None, "cuda": None, "cudnn": None, "gpus": [], "problem": "", "conv3d_wrong_for": [],
    }  # fmt: skip
    if problem := _loads("torch"):
        return {**said, "problem": problem}
    import torch

    from far.model.convolution import conv3d_is_wrong

    said |= {"torch": wheel(), "cuda": torch.version.cuda}
    try:
        usable()
    except FarError as error:
        return {**said, "problem": str(error)}
    if torch.cuda.is_available():
        said["cudnn"] = torch.backends.cudnn.version()
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            said["gpus"].append(f"{about.name}, {about.total_memory / 2**30:.0f} GiB")
        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        said["conv3d_wrong_for"] = [name for name, kind in kinds.items() if conv3d_is_wrong(kind, said["cudnn"])]
    return said


def _loads(name: str) -> str | None:
    """Return why a package does not load, None if it does."""
    try:
        importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a missing library, another ABI
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None
