"""Contents of data and weights for reading: where they are not on this machine, the finished trials know them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config import DataConfig, InitConfig
from far.data.sources.demo_writer import directory_of
from far.data.sources.manifest import FILE_NAME
from far.errors import DataError, WeightsError

if TYPE_CHECKING:
    from orchestrator.workspace.workspace import Workspace

MOST_READ = 200
"""Trials that are asked."""


class DataContent:
    """Content hash of a data set for reading results: a report never generates or prepares data.

    Where the data set is not on this machine, the hash is that of the finished trials on the same data settings.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._store = workspace, workspace.store
        self._of_trials: dict[str, set[str]] | None = None

    def __call__(self, data: DataConfig) -> str:
        """Return the hash.

        Raises:
            DataError: the data set is not here, and no finished trial used it, or several contents of it.
        """
        if self._is_here(data):
            return self._workspace.stated_data_hash(data)
        known = self._finished_on(data)
        if len(known) == 1:
            return next(iter(known))
        reason = "finished trials hold several contents of it" if known else "no trial has run on it"
        raise DataError(f"the data set '{data.source}' is not under {self._workspace.settings.data_root}, and {reason}")

    def _is_here(self, data: DataConfig) -> bool:
        root = self._workspace.settings.data_root
        if data.source == "demo":
            return (directory_of(data.demo, root) / FILE_NAME).is_file()
        places = (Path(data.source).expanduser(), root / data.source)
        return any(place.is_file() or (place / FILE_NAME).is_file() for place in places)

    def _finished_on(self, data: DataConfig) -> set[str]:
        if self._of_trials is None:
            self._of_trials = {}
            for key in self._store.keys()[:MOST_READ]:
                result = self._store.result(key)
                content = result.get("data_hash") if result else None
                settings = (self._store.trial(key).get("config") or {}).get("data") if content else None
                if content and settings:
                    self._of_trials.setdefault(_of_data(settings), set()).add(content)
        return self._of_trials.get(_of_data(data.model_dump(mode="json")), set())


def _of_data(settings: Mapping[str, Any]) -> str:
    """Return what decides a data set, of settings that may be of an earlier version, or of another machine."""
    whole = {**DataConfig().model_dump(mode="json"), **settings}
    return json.dumps({name: whole[name] for name in whole.keys() - DataConfig.uncounted()}, sort_keys=True)


class WeightsContent:
    """Content hash of initial weights, in the same way: where the file is not here, that of the finished trials."""

    def __init__(self, workspace: Workspace) -> None:
        self._compute, self._store = workspace.weights_hash, workspace.store

    def __call__(self, init: InitConfig) -> str | None:
        """Return the hash, None for a random start.

        Raises:
            WeightsError: the file is not here, and the finished trials do not tell.
        """
        try:
            return self._compute(init)
        except WeightsError:
            known = self._finished_from(init.model_dump(mode="json"))
            if len(known) != 1:
                raise
            return known.pop()

    def _finished_from(self, init: Mapping[str, Any]) -> set[str]:
        found, unset = set(), InitConfig().model_dump(mode="json")  # earlier results lack what came later
        for key in self._store.keys()[:MOST_READ]:
            spec = self._store.trial(key) if self._store.result(key) else {}
            if spec and {**unset, **((spec.get("config") or {}).get("init") or {})} == init:
                content = (spec.get("identity") or {}).get("init")
                found.add(content.get("content") if isinstance(content, Mapping) else content)
        return {text for text in found if isinstance(text, str)}
