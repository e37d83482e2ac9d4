"""What became of every parameter of the network and every tensor of the file, by name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LoadReport:
    """The account of one loading.

    Attributes:
        family: the family the file was read as.
        positions: the network's position embedding.
        stage: what the file's network was trained for: ``pre-trained``, ``fine-tuned``, or ``encoder`` where nothing
            tells.
        loaded: our names that got their values from the file.
        fresh: our names that kept their random start, and why.
        ignored: the file's names that were not used, and why.
        notes: what else is worth knowing.
    """

    family: str
    positions: str
    stage: str
    loaded: tuple[str, ...]
    fresh: Mapping[str, str]
    ignored: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for a trial's record."""
        return {
            "family": self.family,
            "positions": self.positions,
            "stage": self.stage,
            "loaded": list(self.loaded),
            "fresh": dict(self.fresh),
            "ignored": dict(self.ignored),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> LoadReport | None:
        """Return the account that a trial's record holds, None if it holds none; earlier records say less."""
        if not values or "loaded" not in values:
            return None
        return cls(
            str(values.get("family")),
            str(values.get("positions", "not recorded")),
            str(values.get("stage", "stage not recorded")),
            tuple(values["loaded"]),
            dict(values.get("fresh") or {}),
            dict(values.get("ignored") or {}),
            tuple(values.get("notes") or ()),
        )

    def __str__(self) -> str:
        counts = f"{len(self.loaded)} loaded, {len(self.fresh)} fresh, {len(self.ignored)} ignored"
        lines = [f"{self.family}, {self.stage}, positions {self.positions}: {counts}"]
        for title, names in (("fresh", self.fresh), ("ignored", self.ignored)):
            by_reason: dict[str, list[str]] = defaultdict(list)
            for name, reason in names.items():
                by_reason[reason].append(name)
            lines += [f"  {title} ({reason}): {brief(found)}" for reason, found in by_reason.items()]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class Uneven:
    """Parameters that some rows of a table take from their file, and others have at random."""

    names: tuple[str, ...]
    loaded: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        rows = [" and ".join(f"'{row}'" for row in each) for each in (self.loaded, self.fresh)]
        return f"{folded(self.names)} of the file in {rows[0]}, random in {rows[1]}"


def uneven(starts: Mapping[str, Mapping[str, Any]]) -> list[Uneven]:
    """Return what rows start from differently although they all have it.

    A parameter that one row alone has, such as an interaction's, is what the rows are about.

    Args:
        starts: by row, the account of its loading (:meth:`LoadReport.as_json`).
    """
    loaded = {row: frozenset(start.get("loaded") or ()) for row, start in starts.items()}
    fresh = {row: frozenset(start.get("fresh") or ()) for row, start in starts.items()}
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for name in sorted(frozenset().union(*loaded.values()) & frozenset().union(*fresh.values())):
        rows = (tuple(r for r in starts if name in loaded[r]), tuple(r for r in starts if name in fresh[r]))
        found[rows].append(name)
    return [Uneven(tuple(names), *rows) for rows, names in found.items()]


def folded(names: Iterable[str]) -> str:
    """List names, those that differ in numbers only as one: ``blocks.0-11.norm1.weight``."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for name in names:
        parts = name.split(".")
        at = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        key = name if at is None else ".".join([*parts[:at], "{}", *parts[at + 1 :]])
        numbers[key].append(-1 if at is None else int(parts[at]))
    return ", ".join(
        key if found == [-1] else key.replace("{}", f"{min(found)}-{max(found)}" if found[1:] else f"{found[0]}")
        for key, found in numbers.items()
    )


MOST_LISTED = 8
"""Folded names that are listed one by one."""


def brief(names: Collection[str]) -> str:
    """List names as :func:`folded` does; many of them by module: ``decoder.* (48 tensors)``."""
    listed = folded(names)
    if listed.count(", ") < MOST_LISTED:
        return listed
    modules: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts = name.split(".")
        modules[".".join(parts[:3]) if parts[0] == "blocks" else parts[0]].append(name)
    counts: dict[str, int] = defaultdict(int)
    whole: dict[str, bool] = {}
    for module, found in modules.items():
        key = re.sub(r"^blocks\.\d+\.", "blocks.*.", module)
        counts[key] += len(found)
        whole[key] = found == [module]
    return ", ".join(key if whole[key] else f"{key}.* ({count} tensors)" for key, count in counts.items())
