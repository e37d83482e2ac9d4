"""Content hashes that a trial's identity needs: of the data manifest and of the initial weights."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from far.config import DataConfig, InitConfig, TrialConfig
from far.data import open_manifest
from far.data.sources.demo_writer import directory_of
from far.data.sources.manifest import FILE_NAME
from far.data.sources.open import DEMO
from far.data.sources.readiness import generation_problems, training_problems
from far.errors import ConfigError, DataError
from far.store.atomic import read_json, write_json
from far.weights.paths import content_hash, parts_of
from orchestrator.cli.streams import terminal
from orchestrator.workspace.settings import Settings

if TYPE_CHECKING:
    from far.data.sources.manifest import Manifest

DataHash = Callable[[DataConfig], str]
ManifestHash = Callable[[DataConfig], str | None]
WeightsHash = Callable[[InitConfig], str | None]
VideoCounts = Callable[[DataConfig], tuple[int, int] | None]
DataProblems = Callable[[TrialConfig], list[str]]


def manifest_hash(settings: Settings) -> DataHash:
    """Return the function that hashes the data a configuration asks for, under this workspace's data root.

    The demo set is generated if it is not there, with a line of progress on standard error.
    """

    def compute(data: DataConfig) -> str:
        return open_manifest(data, settings.data_root, _show_generation).content_hash

    return compute


def present_hash(settings: Settings) -> ManifestHash:
    """Return the same function for commands that only look: None for a demo set that is not there yet."""
    compute = manifest_hash(settings)
    return lambda data: compute(data) if is_generated(data, settings.data_root) else None


def is_generated(data: DataConfig, root: Path) -> bool:
    """Return whether a data set is there, or is none that would be generated."""
    return data.source != "demo" or (directory_of(data.demo, root) / FILE_NAME).is_file()


def video_counts(settings: Settings) -> VideoCounts:
    """Return the function that tells the training and validation videos of a data set, None if it is not here."""

    def count(data: DataConfig) -> tuple[int, int] | None:
        if data.source == "demo":
            return data.demo.train_clips, data.demo.val_clips
        try:
            splits = Counter(video.split for video in open_manifest(data, settings.data_root).videos)
        except (ConfigError, DataError):
            return None
        return splits["train"], splits["val"]

    return count


def data_problems(settings: Settings) -> DataProblems:
    """Return the function that tells why a trial would fail on the data that are here; a data set that is not is none.

    It raises ``ConfigError`` where the data set has another number of classes than configured.
    """
    manifests: dict[tuple[str, int], Manifest | None] = {}
    known: dict[tuple[str, int], list[str]] = {}

    def manifest(data: DataConfig) -> Manifest | None:
        try:
            return open_manifest(data, settings.data_root)
        except ConfigError as error:
            if error.key == "data.source":
                return None
            raise

    def compute(config: TrialConfig) -> list[str]:
        if config.data.source == DEMO:
            return generation_problems(config)
        name = config.data.source, config.data.classes
        try:
            if name not in manifests:
                manifests[name] = manifest(config.data)
        except DataError as error:
            return [str(error)]
        found = manifests[name]
        return training_problems(found, config) if found else []

    def problems(config: TrialConfig) -> list[str]:
        name = config.data.model_dump_json(), config.recipe.batch_size
        if name not in known:
            known[name] = compute(config)
        return known[name]

    return problems


def _show_generation(done: int, total: int) -> None:
    stream = terminal(sys.stderr)
    if stream.isatty():
        print(f"\rgenerating the demo data set (once): {done}/{total} clips", end="", file=stream)
        if done == total:
            print(file=stream)
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
        stats = [(str(part.resolve()), part.stat().st_size, part.stat().st_mtime_ns) for part in parts_of(path)]
        name = json.dumps(stats)
        cache = read_json(cache_file, dict[str, str]) or {}
        if name not in cache:
            cache[name] = content_hash(path)
            write_json(cache_file, cache)
        return str(cache[name])

    return compute
