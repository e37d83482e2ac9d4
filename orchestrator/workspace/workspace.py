"""What a command works on: the settings in force, the store, and the contents by which trials get their keys."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config import DataConfig, InitConfig, TrialConfig
from far.data import open_manifest
from far.data.sources.demo_writer import directory_of
from far.data.sources.manifest import FILE_NAME, read_header
from far.data.sources.open import DEMO, check_classes, locate
from far.data.sources.readiness import generation_problems, training_problems
from far.errors import ConfigError, DataError
from far.store.atomic import read_json, write_json
from far.weights.paths import content_hash, parts_of
from orchestrator.cli.quiet import is_quiet
from orchestrator.cli.streams import terminal
from orchestrator.store.remote import RemoteStore
from orchestrator.store.store import Store
from orchestrator.workspace.settings import Settings, load_settings

if TYPE_CHECKING:
    from far.data.sources.manifest import Manifest


@dataclass(frozen=True)
class Workspace:
    """A workspace in use.

    Attributes:
        settings: what is in force: of ``farlab.toml``, the defaults and the command line.
        store: where trials are kept; with a store at a URL, this machine's copy.
    """

    settings: Settings
    store: Store
    _manifests: dict[tuple[str, int], Manifest] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Of prepared data sets, which may list 200,000 videos: each is read once."""
    _problems: dict[tuple[str, int], list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def changed(self, **settings: Any) -> Workspace:
        """Return the same workspace with some settings changed, none of which may be the store."""
        return replace(self, settings=self.settings.model_copy(update=settings))

    @cached_property
    def remote_store(self) -> RemoteStore | None:
        """The store's copy at a URL, if it has one."""
        return RemoteStore(self.settings.remote_store) if self.settings.remote_store else None

    def data_hash(self, data: DataConfig) -> str:
        """Return the content hash of the data that a configuration asks for.

        The demo set is generated if it is not there, with a line of progress on standard error.
        """
        return self._manifest(data).content_hash

    def stated_data_hash(self, data: DataConfig) -> str:
        """Return the content hash that the header of a prepared data set's manifest states.

        For commands that read results: the manifest's videos, which may be 200,000, are not looked at.
        """
        if data.source == DEMO:
            return self.data_hash(data)
        header = read_header(locate(data.source, self.settings.data_root))
        check_classes(data, len(header.labels))
        return header.content_hash

    def present_data_hash(self, data: DataConfig) -> str | None:
        """Return the same for commands that only look: None for a demo set that is not there yet."""
        return self.data_hash(data) if is_generated(data, self.settings.data_root) else None

    def video_counts(self, data: DataConfig) -> tuple[int, int] | None:
        """Return the training and validation videos of a data set, None if it is not here."""
        if data.source == DEMO:
            return data.demo.train_clips, data.demo.val_clips
        try:
            splits = Counter(video.split for video in self._manifest(data).videos)
        except (ConfigError, DataError):
            return None
        return splits["train"], splits["val"]

    def data_problems(self, config: TrialConfig) -> list[str]:
        """Return why a trial would fail on the data that are here; a data set that is not is no reason.

        Raises:
            ConfigError: the data set has another number of classes than configured.
        """
        name = config.data.model_dump_json(), config.recipe.batch_size
        if name not in self._problems:
            self._problems[name] = self._data_problems(config)
        return self._problems[name]

    def _data_problems(self, config: TrialConfig) -> list[str]:
        if config.data.source == DEMO:
            return generation_problems(config)
        try:
            manifest = self._manifest(config.data)
        except DataError as error:
            return [str(error)]
        except ConfigError as error:
            if error.key == "data.source":
                return []
            raise
        return training_problems(manifest, config)

    def _manifest(self, data: DataConfig) -> Manifest:
        if data.source == DEMO:
            return open_manifest(data, self.settings.data_root, _show_generation)
        name = data.source, data.classes
        if name not in self._manifests:
            self._manifests[name] = open_manifest(data, self.settings.data_root)
        return self._manifests[name]

    def weights_path(self, init: InitConfig) -> Path | None:
        """Return the file of the initial weights, None for a random start."""
        return self.settings.weights_root / Path(init.weights).expanduser() if init.weights else None

    def weights_hash(self, init: InitConfig) -> str | None:
        """Return the content hash of initial weights; a file is read again when its size or time changes."""
        path, known = self.weights_path(init), self.store.root / "weights.json"
        if path is None:
            return None
        cache = read_json(known, dict[str, str]) or {}
        if init.weights in cache and not path.exists():
            return cache[init.weights]  # of an exported study, which tells the content of what it does not bring
        stats = [(str(part.resolve()), part.stat().st_size, part.stat().st_mtime_ns) for part in parts_of(path)]
        name = json.dumps(stats)
        if name not in cache:
            cache[name] = content_hash(path)
            write_json(known, cache)
        return str(cache[name])


def is_generated(data: DataConfig, root: Path) -> bool:
    """Return whether a data set is there, or is none that would be generated."""
    return data.source != DEMO or (directory_of(data.demo, root) / FILE_NAME).is_file()


def _show_generation(done: int, total: int) -> None:
    stream = terminal(sys.stderr)
    if is_quiet():
        return
    if stream.isatty():
        print(f"\rgenerating the demo data set (once): {done}/{total} clips", end="", file=stream)
        if done == total:
            print(file=stream)
    elif done == total:
        print(f"generated the demo data set: {total} clips", file=sys.stderr)


def open_workspace(settings: Settings | None = None, *, trust: bool = False) -> Workspace:
    """Open the workspace of the current directory, or that of some settings; a store at a URL is brought up to date.

    Raises:
        ConfigError: ``farlab.toml`` is wrong.
        ReplicaError: the store's URL cannot be read now.
    """
    settings = settings or load_settings(trust=trust)
    workspace = Workspace(settings, Store(settings.store))
    if workspace.remote_store is not None:
        workspace.remote_store.pull(workspace.store)
    return workspace
