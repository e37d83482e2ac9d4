"""Opening files of weights without running anything that they contain."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from far.errors import WeightsError
from far.text import first_line
from far.weights.facts import Facts, gather
from far.weights.paths import SPLIT, parts_of

STATES = ("model", "module", "model_state", "state_dict", "model_state_dict")
"""Under which key training scripts keep the state dict (DeepSpeed: ``module``; mae_st's release: ``model_state``)."""

WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.", "net.")
"""Prefixes of DistributedDataParallel, torch.compile and of classes around the backbone (VideoMAE V2 on Hugging Face:
``model.``; our baselines of other authors' networks: ``net.``)."""

HARMLESS: list[Any] = [
    argparse.Namespace,  # VideoMAE's and MVD's files hold their arguments
    np.dtype,
    *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64", "bool")),
    multiarray.scalar,
    (multiarray.scalar, "numpy.core.multiarray.scalar"),  # its place before NumPy 2
]
"""Classes that files of weights hold in addition to tensors and that run nothing when they are rebuilt."""


@dataclass(frozen=True)
class Opened:
    """Tensors by the names that stand in the file, wrappers' prefixes removed, and what else it says."""

    tensors: Mapping[str, Tensor]
    facts: Facts
    path: Path


def open_file(path: Path) -> Opened:
    """Read a file of weights, or a directory as Hugging Face and DeepSpeed leave it.

    Raises:
        WeightsError: it is not there, is no file of weights, is damaged, or would run code when opened.
    """
    parts = parts_of(path)
    tensors: dict[str, Tensor] = {}
    pickled: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for part in parts:
        if part.suffix == ".safetensors":
            found, about = _safetensors(part)
            metadata.update(about)
        else:
            found, about = _pickled(part)
            pickled.update(about)
        tensors.update(found)
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    if all(tensor.numel() == 0 for tensor in tensors.values()):
        raise WeightsError(f"{path}: its tensors are empty: {SPLIT}")
    unwrapped: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for name, tensor in tensors.items():
        one = _unwrapped(name)
        refuse_two(path, names.setdefault(one, name), unwrapped.setdefault(one, tensor), name, tensor)
    return Opened(unwrapped, gather(pickled, metadata, parts[0], _patch(unwrapped)), path)


def refuse_two(path: Path, name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """Refuse a file in which two tensors would be one parameter, unless they are the same.

    Raises:
        WeightsError: it holds several networks, e.g. a student and its teacher.
    """
    same = tensor is other or (tensor.dtype == other.dtype and torch.equal(tensor, other))
    if not same:
        raise WeightsError(f"{path}: holds two networks: '{name}' and '{other_name}' are one parameter and differ")


def _patch(tensors: Mapping[str, Tensor]) -> tuple[int, int, int] | None:
    """Return the size of a token: the patch embedding is the only five-dimensional weight."""
    shapes = [tensor.shape for tensor in tensors.values() if tensor.ndim == 5 and tensor.numel()]
    return (shapes[0][2], shapes[0][3], shapes[0][4]) if shapes else None


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None


def _pickled(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with torch.serialization.safe_globals(HARMLESS):
            # Mapped, so that a look at names and shapes need not read the whole file; old formats cannot be.
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(path, str(error))) from None
    except Exception as error:  # bytes that are no pickle can raise anything, IndexError and TypeError included
        raise WeightsError(f"{path}: not a readable file of weights ({first_line(error)})") from None
    state = next((found[key] for key in STATES if isinstance(found, Mapping) and _is_state(found.get(key))), found)
    if not _is_state(state):
        kind = type(found).__name__
        raise WeightsError(f"{path}: holds a {kind} without a state dict (looked for {', '.join(STATES)})")
    others = {} if state is found else {key: value for key, value in found.items() if value is not state}
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}, others


def _is_state(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(each, Tensor) for each in value.values())


def _refusal(path: Path, message: str) -> str:
    match = re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)|Can only build.*?([\w.]+)", message)
    if match is None:
        return f"{path}: not a file of weights: neither safetensors nor what torch.save writes"
    wanted = next(group for group in match.groups() if group)
    return (
        f"{path}: refused, because opening it would run code: its pickle asks for '{wanted}'. Only tensors and plain "
        "values are read from files of weights. If you trust its origin, take the tensors out where it may run: "
        "torch.save({'model': torch.load(FILE, weights_only=False)['model']}, OUT)"
    )


def _unwrapped(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name
