"""The store as a report reads it: each result file once, however often it is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from far.files import TrialPaths
from far.result import Result, problem
from orchestrator.store import Store, TrialState

SHARED = ("config", "identity", "code", "env")
"""Parts that thousands of results have in common, but for the seed: kept once."""
PLACEHOLDER = "\0"
MOST_KEPT = 32
"""Different parts that are looked through; with more, equal ones may be kept twice."""


class ReadOnce(Store):
    """A store that remembers what it has read, without keeping equal parts of results twice."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._before, self._after = str(TrialPaths(self.trials / PLACEHOLDER).result).rsplit(PLACEHOLDER, 1)
        self._known: dict[str, Result | None] = {}
        self._parts: dict[str, list[dict[str, Any]]] = {}

    def result(self, key: str) -> Result | None:
        """Return a trial's result, None if it has none or a damaged one; its configuration holds no seed."""
        if key not in self._known:
            found = self._read(key)
            if found is not None:
                self._share(found)
            self._known[key] = found
        return self._known[key]

    def _read(self, key: str) -> Result | None:
        """Read a result as the store does, without making paths and parsing in C: there may be ten thousand."""
        try:
            descriptor = os.open(f"{self._before}{key}{self._after}", os.O_RDONLY)
            try:
                value = from_json(os.read(descriptor, os.fstat(descriptor).st_size))
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            return None
        return cast(Result, value) if problem(value, key) is None else None

    def state(self, key: str) -> TrialState:
        """Return where a trial stands."""
        found = self.result(key)
        return found["state"] if found is not None else super().state(key)

    def _share(self, result: Any) -> None:
        for name in SHARED:
            part = result.get(name)
            if isinstance(part, dict):
                part.pop("seed", None)
                result[name] = self._kept(name, part)

    def _kept(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        """Return the equal part that is kept already, most recently seen first; else keep this one."""
        kept = self._parts.setdefault(name, [])
        for place, known in enumerate(kept):
            if known == part:
                if place:
                    kept.insert(0, kept.pop(place))
                return known
        kept.insert(0, part)
        del kept[MOST_KEPT:]
        return part
