"""In which settings two trees differ, such as two configurations: one way to tell, for every command that does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WHOLE = ("model.attention",)
"""Settings whose value is a mapping: heads by pattern, no section."""


@dataclass(frozen=True)
class Difference:
    """A setting that two trees have otherwise, by its dotted name; None where one does not have it."""

    key: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.key} {shown(self.first)} -> {shown(self.second)}"


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings of a tree by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and prefix + key not in WHOLE:
            flat.update(leaves(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Return the settings in which two trees of plain data differ, in the order of the first; absent is null."""
    one, other = leaves(first), leaves(second)
    return [Difference(key, one.get(key), other.get(key)) for key in {**one, **other} if one.get(key) != other.get(key)]


def shown(value: Any) -> str:
    """Return a setting's value as a study writes it."""
    return json.dumps(value, ensure_ascii=False)
