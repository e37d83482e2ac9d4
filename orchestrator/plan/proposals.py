"""Which trials a search has proposed, read off its journal without Optuna."""

from __future__ import annotations

from pathlib import Path

from far.store.atomic import read_json_lines

KEY = "farlab.key"
"""Of a proposal's attribute that holds its trial's key."""


def proposed_keys(journal: Path) -> set[str]:
    """Return the keys of all trials that a search has proposed; none where there is no journal."""
    attributes = (line.get("user_attr") for line in read_json_lines(journal))
    return {str(each[KEY]) for each in attributes if isinstance(each, dict) and KEY in each}
