"""What became of every parameter of the network and every tensor of the file, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Coverage:
    """The account of one loading.

    Attributes:
        family: the family the file was read as.
        positions: the network's position embedding.
        loaded: our names that got their values from the file.
        fresh: our names that kept their random start, and why.
        ignored: the file's names that were not used, and why.
        notes: what else is worth knowing.
    """

    family: str
    positions: str
    loaded: tuple[str, ...]
    fresh: Mapping[str, str]
    ignored: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for a trial's record."""
        return {
            "family": self.family,
            "positions": self.positions,
            "loaded": list(self.loaded),
            "fresh": dict(self.fresh),
            "ignored": dict(self.ignored),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [
            f"{self.family}, positions {self.positions}: {len(self.loaded)} loaded, {len(self.fresh)} fresh, "
            f"{len(self.ignored)} ignored"
        ]
        for title, names in (("fresh", self.fresh), ("ignored", self.ignored)):
            by_reason: dict[str, list[str]] = defaultdict(list)
            for name, reason in names.items():
                by_reason[reason].append(name)
            lines += [f"  {title} ({reason}): {folded(found)}" for reason, found in by_reason.items()]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


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
