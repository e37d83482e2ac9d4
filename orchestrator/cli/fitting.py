"""What of a long list of trials is worth a terminal's few lines; the rest is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def cropped(text: str, width: int) -> str:
    """Return a text cut to ``width`` characters."""
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def fitting(
    items: Sequence[T], room: int, rank: Callable[[T], Any], word: Callable[[T], str]
) -> tuple[list[T], str | None]:
    """Return the items that fit, in their own order, and words for the others.

    Args:
        items: all of them.
        room: lines that there are, at least 1; the words for the others take one of them.
        rank: sorts them by how much a person wants to see them, first first.
        word: what to count the others by, e.g. their state.
    """
    if len(items) <= room:
        return list(items), None
    order = sorted(range(len(items)), key=lambda index: rank(items[index]))
    kept = set(order[: max(room - 1, 0)])
    counts = Counter(word(items[index]) for index in order if index not in kept)
    words = ", ".join(f"{number} {name}" for name, number in counts.most_common())
    return [items[index] for index in sorted(kept)], f"and {sum(counts.values())} more: {words}"
