"""Where weights are, without torch: a wrong path is answered at once."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from far.errors import WeightsError

IN_DIRECTORY = ("model.safetensors", "pytorch_model.bin", "mp_rank_00_model_states.pt")
"""What a directory is opened by, in this order; the first two also as shards with an ``.index.json``."""

LATEST = "latest"
"""The file in which DeepSpeed names the newest of a folder's checkpoints."""
TRIAL = re.compile(r"epoch-\d+")
"""Checkpoints in a trial's folder of ours."""
SPLIT = (
    "its parameters are split among processes (DeepSpeed, ZeRO 3); zero_to_fp32.py, which DeepSpeed writes next to its "
    "checkpoints, puts them together into one file"
)
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".pyth", ".torch")


def existing(path: Path) -> Path:
    """Return the path of a file or directory that is there.

    Raises:
        WeightsError: it is not; weights files next to it are named.
    """
    if path.exists():
        return path
    siblings = path.parent.glob("*") if path.parent.is_dir() else []
    near = sorted(each.name for each in siblings if each.suffix in SUFFIXES)[:20]
    there = f" (there: {', '.join(near)})" if near else ""
    raise WeightsError(f"{path}: no such file{there}; docs/reproduce.md says where the published ones are")


def parts_of(path: Path) -> list[Path]:
    """Return the files that hold the weights of a path: itself, or a directory's one file or its shards.

    A folder of several checkpoints stands for the newest: the one that DeepSpeed's ``latest`` names, or a trial's last.

    Raises:
        WeightsError: it is not there, or is a directory without weights.
    """
    if existing(path).is_file():
        if path.name.startswith("zero_pp_rank_"):
            raise WeightsError(f"{path}: {SPLIT}")
        return [path]
    for name in IN_DIRECTORY:
        index = path / f"{name}.index.json"
        if (path / name).is_file():
            return [path / name]
        if index.is_file():
            return [path / shard for shard in _shards(index)]
    if not path.is_dir():
        raise WeightsError(f"{path}: neither a file nor a folder, but a device or a pipe")
    if any(path.glob("zero_pp_rank_*_model_states.pt")):
        raise WeightsError(f"{path}: {SPLIT}")
    newest = _newest(path)
    if newest is not None:
        return parts_of(newest)
    raise WeightsError(f"{path}: a directory without any of {', '.join(IN_DIRECTORY)}")


def _shards(index: Path) -> list[str]:
    """Return the names of the files that hold a split state dict.

    Raises:
        WeightsError: the index is none, or names a file that is not next to it.
    """
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        shards = sorted({str(name) for name in named})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError(f"{index}: not a readable index of shards") from None
    missing = [name for name in shards if Path(name).name != name or not (index.parent / name).is_file()]
    if missing or not shards:
        raise WeightsError(f"{index}: names shards that are not next to it: {', '.join(missing[:5]) or 'none at all'}")
    return shards


def _newest(directory: Path) -> Path | None:
    """Return the newest checkpoint of a folder that holds several, None if it is no such folder.

    Raises:
        WeightsError: ``latest`` names one that is not there.
    """
    latest = directory / LATEST
    if latest.is_file():
        name = latest.read_text(encoding="utf-8", errors="replace").strip()
        if not name or Path(name).name != name or not (directory / name).is_dir():
            there = ", ".join(sorted(each.name for each in directory.iterdir() if each.is_dir())[:20])
            raise WeightsError(f"{latest}: names '{name[:80]}', which is no folder next to it (there: {there})")
        return directory / name
    for place in (directory, directory / "checkpoints"):
        epochs = [each for each in place.glob("epoch-*") if TRIAL.fullmatch(each.name)]
        if epochs:
            return max(epochs, key=lambda each: int(each.name.split("-")[1]))
    return None


def content_hash(path: Path) -> str:
    """Return the SHA-256 of the weights' bytes, of a file or of a directory's parts in order.

    Raises:
        WeightsError: see :func:`parts_of`.
    """
    whole = hashlib.sha256()
    for part in parts_of(path):
        with part.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()
