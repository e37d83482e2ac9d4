"""Where weights are, without torch: a wrong path is answered at once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from far.errors import WeightsError

IN_DIRECTORY = ("model.safetensors", "pytorch_model.bin", "mp_rank_00_model_states.pt")
"""What a directory is opened by, in this order; the first two also as shards with an ``.index.json``."""

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".pyth")


def existing(path: Path) -> Path:
    """Return the path of a file or directory that is there.

    Raises:
        WeightsError: it is not; files of weights beside it are named.
    """
    if path.exists():
        return path
    beside = path.parent.glob("*") if path.parent.is_dir() else []
    near = sorted(each.name for each in beside if each.suffix in SUFFIXES)[:20]
    raise WeightsError(f"{path}: no such file" + (f" (there: {', '.join(near)})" if near else ""))


def parts_of(path: Path) -> list[Path]:
    """Return the files that hold the weights of a path: itself, or a directory's one file or its shards.

    Raises:
        WeightsError: it is not there, or is a directory without weights.
    """
    if existing(path).is_file():
        return [path]
    for name in IN_DIRECTORY:
        index = path / f"{name}.index.json"
        if (path / name).is_file():
            return [path / name]
        if index.is_file():
            shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return [path / shard for shard in sorted(set(shards))]
    raise WeightsError(f"{path}: a directory without any of {', '.join(IN_DIRECTORY)}")


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
