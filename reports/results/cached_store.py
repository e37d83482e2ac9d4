"""The store as a report reads it: each result file once, and of its longest parts only what is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from far.store.paths import TrialPaths
from far.store.result import Result, problem
from orchestrator.store.store import Store, TrialState

LATER = {name: f'\n "{name}": {{\n'.encode() for name in ("identity", "config")}
"""Parts that are two thirds of a result and that a table hardly needs, and how they begin as ``write_json``
writes them: on a line of its own, indented by one space, which no string and no deeper line can look like."""
END = b"\n }"
"""How such a part ends."""
SHARED = ("code", "env")
"""Parts that thousands of results have in common: kept once."""
PLACEHOLDER = "\0"
MOST_KEPT = 32
"""Different parts that are looked through; with more, equal ones may be kept twice."""


class Later(Mapping[str, Any]):
    """A part of a result, parsed when it is first looked at."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    @cached_property
    def _value(self) -> Mapping[str, Any]:
        try:
            return cast("Mapping[str, Any]", from_json(self._text))
        except ValueError:
            return {}

    def __getitem__(self, key: str) -> Any:
        return self._value[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def __len__(self) -> int:
        return len(self._value)


def parse_result(text: bytes) -> Any:
    """Parse a result; what ``LATER`` names is parsed when it is looked at.

    Raises:
        ValueError: it is not JSON.
    """
    later = {}
    for name, opening in LATER.items():
        start = text.find(opening)
        end = text.find(END, start)
        if 0 <= start < end:
            start, end = start + len(opening) - 2, end + len(END)
            later[name] = Later(text[start:end])
            text = b"".join((text[:start], b"null", text[end:]))
    value = from_json(text)
    if isinstance(value, dict):
        value.update(later)
    return value


class ReadOnce(Store):
    """A store that remembers what it has read, without keeping equal parts of results twice."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._before, self._after = str(TrialPaths(self.trials / PLACEHOLDER).result).rsplit(PLACEHOLDER, 1)
        self._known: dict[str, Result | None] = {}
        self._parts: dict[str, list[dict[str, Any]]] = {}

    def result(self, key: str) -> Result | None:
        """Return a trial's result, None if it has none or a damaged one."""
        if key not in self._known:
            found = self._read(key)
            if found is not None:
                self._share(found)
            self._known[key] = found
        return self._known[key]

    def _read(self, key: str) -> Result | None:
        """Read a result as the store does, but fast: there may be ten thousand."""
        try:
            descriptor = os.open(f"{self._before}{key}{self._after}", os.O_RDONLY)
            try:
                value = parse_result(os.read(descriptor, os.fstat(descriptor).st_size))
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
