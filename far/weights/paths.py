"""Where weights are, without torch: a wrong path is answered at once."""

from __future__ import annotations

from pathlib import Path

from far.errors import WeightsError

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
