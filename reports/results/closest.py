"""In what the trials of a store differ from those asked for: most often a forgotten override or profile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from far.config.identity import spelled_out

if TYPE_CHECKING:
    from orchestrator.store.store import Store

MOST_COMPARED = 200
"""Trials that are looked at."""
MOST_SHOWN = 6
"""Differences that are named; the rest is counted."""
AXES = tuple(
    f"{name} = "
    for name in (
        "model.network",
        "model.attention",
        "model.interaction",
        "model.interaction_position",
        "model.classifier",
        "recipe.new_module_lr",
    )
)
"""What rows vary: trials that differ in nothing else are other rows of the same setting."""


def other_settings(wanted: Mapping[str, Any], store: Store) -> list[str]:
    """Say in what the store's trials differ from those asked for: most often a forgotten override or profile."""
    best: tuple[int, list[str]] | None = None
    keys = store.keys()
    for key in keys[:MOST_COMPARED]:
        known = store.trial(key).get("identity") if store.result(key) else None
        if known:
            asked, stored = (spelled_out(each) for each in (json.loads(json.dumps(wanted)), known))
            differ = _differences(asked, stored)
            differ = [text for text in differ if not text.startswith(AXES)]
            if not differ:
                return []  # the same setting, another study's rows
            if best is None or len(differ) < best[0]:
                best = (len(differ), differ)
    if best is None:
        return []
    more = best[0] - MOST_SHOWN
    shown = ", ".join(best[1][:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return [f"the store holds {len(keys)} trials of other settings; the nearest has {shown}"]


def _differences(wanted: Any, stored: Any, path: str = "") -> list[str]:
    """Dotted settings in which two identities differ; the seed and the row's own model are not a difference here."""
    if isinstance(wanted, Mapping) and isinstance(stored, Mapping):
        keys = [key for key in {**wanted, **stored} if path or key != "seed"]
        parts = [_differences(wanted.get(k), stored.get(k), f"{path}.{k}" if path else str(k)) for k in keys]
        return [text for part in parts for text in part]
    return [] if wanted == stored else [f"{path} = {_short(stored)} instead of {_short(wanted)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
