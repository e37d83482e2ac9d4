"""One thing that was looked at, how it stands, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]
"""``fail``: something cannot work as it is; ``warn``: something may not, or costs time or room."""


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        part: what it is about, e.g. ``decoders``.
        level: how it stands.
        text: what was found.
        mend: a command or step that mends it; empty where all is well, or nothing does.
    """

    part: str
    level: Level
    text: str
    mend: str = ""
