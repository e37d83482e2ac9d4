"""The store as a report reads it: each result file once, and what thousands of results have in common kept once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from far.store.paths import TrialPaths
from far.store.records import Result
from orchestrator.store.store import Store

SHARED = ("code", "env")
"""Parts that thousands of results have in common."""
MOST_KEPT = 32
"""Different parts that are looked through; with more, equal ones may be kept twice."""


class ReadOnce(Store):
    """A store that remembers what it has read, without keeping equal parts of results twice."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._known: dict[str, Result | None] = {}
        self._parts: dict[str, list[dict[str, Any]]] = {}
        self._paths: dict[str, TrialPaths] = {}

    def paths(self, key: str) -> TrialPaths:
        """Return where the files of a trial lie."""
        if key not in self._paths:
            self._paths[key] = super().paths(key)
        return self._paths[key]

    def result(self, key: str) -> Result | None:
        """Return a trial's result, None if it has none or a damaged one."""
        if key not in self._known:
            found = super().result(key)
            if found is not None:
                self._share(found)
            self._known[key] = found
        return self._known[key]

    def _share(self, result: Any) -> None:
        for name in SHARED:
            part = result.get(name)
            if isinstance(part, dict):
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
