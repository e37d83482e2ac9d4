"""What a command works on: the settings in force, the store, and the contents by which trials get their keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from far.config import InitConfig
from orchestrator.store.remote import Replica
from orchestrator.store.store import Store
from orchestrator.workspace.fingerprints import (
    DataHash,
    DataProblems,
    ManifestHash,
    VideoCounts,
    WeightsHash,
    data_problems,
    manifest_hash,
    present_hash,
    video_counts,
    weights_hash,
    weights_path,
)
from orchestrator.workspace.settings import Settings, load_settings


@dataclass(frozen=True)
class Workspace:
    """A workspace in use.

    Attributes:
        settings: what is in force: of ``farlab.toml``, the defaults and the command line.
        store: where trials are kept; with a store at a URL, this machine's copy.
    """

    settings: Settings
    store: Store

    def changed(self, **settings: Any) -> Workspace:
        """Return the same workspace with some settings changed, none of which may be the store."""
        return replace(self, settings=self.settings.model_copy(update=settings))

    @cached_property
    def replica(self) -> Replica | None:
        """The store's copy at a URL, if it has one."""
        return Replica(self.settings.replica) if self.settings.replica else None

    @cached_property
    def data_hash(self) -> DataHash:
        """Content hash of the data that a configuration asks for; generates the demo set where it is not there."""
        return manifest_hash(self.settings)

    @cached_property
    def present_data_hash(self) -> ManifestHash:
        """The same for commands that only look: None for a demo set that is not there yet."""
        return present_hash(self.settings)

    @cached_property
    def weights_hash(self) -> WeightsHash:
        """Content hash of initial weights; a file is read again when its size or time changes."""
        return weights_hash(self.settings)

    @cached_property
    def video_counts(self) -> VideoCounts:
        """Training and validation videos of a data set, None if it is not here."""
        return video_counts(self.settings)

    @cached_property
    def data_problems(self) -> DataProblems:
        """Why a trial would fail on the data that are here; nothing of a data set that is not."""
        return data_problems(self.settings)

    def weights_path(self, init: InitConfig) -> Path | None:
        """File of the initial weights, None for a random start."""
        return weights_path(init, self.settings)


def open_workspace(settings: Settings | None = None, *, trust: bool = False) -> Workspace:
    """Open the workspace of the current directory, or that of some settings; a store at a URL is brought up to date.

    Raises:
        ConfigError: ``farlab.toml`` is wrong.
        ReplicaError: the store's URL cannot be read now.
    """
    settings = settings or load_settings(trust=trust)
    workspace = Workspace(settings, Store(settings.store))
    if workspace.replica is not None:
        workspace.replica.pull(workspace.store)
    return workspace
