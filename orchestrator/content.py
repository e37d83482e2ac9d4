"""Content hashes that a trial's identity needs: of the data manifest and of the initial weights."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from far.config import DataConfig, InitConfig
from far.errors import ConfigError, DataError, WeightsError
from far.files import read_json, write_json
from orchestrator.plan import ManifestHash, WeightsHash
from orchestrator.settings import Settings


def manifest_hash(settings: Settings) -> ManifestHash:
    """Return the function that hashes the data a configuration asks for, under this workspace's data root.

    The demo set is generated if it is not there, with a line of progress on standard error.
    """

    def compute(data: DataConfig) -> str:
        from far.data import open_manifest

        return open_manifest(data, settings.data_root, _show_generation).content_hash

    return compute


def video_counts(settings: Settings) -> Callable[[DataConfig], tuple[int, int] | None]:
    """Return the function that tells the training and validation videos of a data set, None if it is not here."""

    def count(data: DataConfig) -> tuple[int, int] | None:
        from far.data import open_manifest

        if data.source == "demo":
            return data.demo.train_clips, data.demo.val_clips
        try:
            manifest = open_manifest(data, settings.data_root)
            return len(manifest.split("train")), len(manifest.split("val"))
        except (ConfigError, DataError):
            return None

    return count


def _show_generation(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rgenerating the demo data set (once): {done}/{total} clips", end="", file=sys.stderr)
        if done == total:
            print(file=sys.stderr)
    elif done == total:
        print(f"generated the demo data set: {total} clips", file=sys.stderr)


def weights_path(init: InitConfig, settings: Settings) -> Path | None:
    """Return the file of the initial weights, None for a random start."""
    return settings.weights_root / Path(init.weights).expanduser() if init.weights else None


def weights_hash(settings: Settings) -> WeightsHash:
    """Return the function that hashes initial weights; a file is read again when its size or time changes."""
    cache_file = settings.store / "weights.json"

    def compute(init: InitConfig) -> str | None:
        path = weights_path(init, settings)
        if path is None:
            return None
        if not path.is_file():
            near = [p.name for p in sorted(path.parent.glob("*"))] if path.parent.is_dir() else []
            hint = f" (there: {', '.join(near)})" if near else ""
            raise WeightsError(f"init.weights: no such file {path}{hint}")
        stat = path.stat()
        name = json.dumps([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
        cache = read_json(cache_file) or {}
        if name not in cache:
            with path.open("rb") as stream:
                cache[name] = hashlib.file_digest(stream, "sha256").hexdigest()
            write_json(cache_file, cache)
        return str(cache[name])

    return compute
