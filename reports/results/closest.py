"""In what the trials of a store differ from those asked for: most often a forgotten override or profile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from far.config.differences import Difference, differences, shown
from far.config.identity import spelled_out

if TYPE_CHECKING:
    from orchestrator.store.store import Store

MOST_COMPARED = 200
"""Trials that are looked at."""
MOST_SHOWN = 6
"""Differences that are named; the rest is counted."""
AXES = (
    "seed",
    "model.network",
    "model.attention",
    "model.interaction",
    "model.interaction_position",
    "model.classifier",
    "recipe.new_module_lr",
)
"""What rows and seeds vary: trials that differ in nothing else are other rows of the same setting."""


def other_settings(wanted: Mapping[str, Any], store: Store) -> list[str]:
    """Say in what the store's trials differ from those asked for: most often a forgotten override or profile."""
    best: list[Difference] | None = None
    keys = store.keys()
    for key in keys[:MOST_COMPARED]:
        known = store.trial(key).get("identity") if store.result(key) else None
        if known:
            asked, stored = (spelled_out(each) for each in (json.loads(json.dumps(wanted)), known))
            differ = [each for each in differences(asked, stored) if each.key not in AXES]
            if not differ:
                return []  # the same setting, another study's rows
            if best is None or len(differ) < len(best):
                best = differ
    if best is None:
        return []
    more = len(best) - MOST_SHOWN
    said = ", ".join(
        f"{each.key} = {_short(each.second)} instead of {_short(each.first)}" for each in best[:MOST_SHOWN]
    )
    said += f" and {more} more" if more > 0 else ""
    return [f"the store holds {len(keys)} trials of other settings; the nearest has {said}"]


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
