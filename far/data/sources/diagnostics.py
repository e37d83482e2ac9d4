"""What is wrong or odd in the lists and folders that users bring, each with its place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from far.errors import DataError

SHOWN = 5
"""Places of one kind that a message names; the rest it counts."""
_LONGEST = 300


class Diagnostics:
    """Collects errors and warnings while lists are read, so that one run names all of them.

    Args:
        root: the data set's folder; places are given relative to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warnings: dict[str, list[str]] = defaultdict(list)
        """Places by what is odd there; the data set is usable all the same."""
        self._errors: list[tuple[str, str]] = []

    def place(self, path: Path) -> str:
        """Return a file as messages name it: relative to the data set's folder where it lies in it."""
        return one_line(str(path.relative_to(self.root) if self.root in path.parents else path))

    def warn(self, what: str, place: str) -> None:
        """Note something odd that the user should see."""
        self.warnings[what].append(place)

    def error(self, place: str, message: str) -> None:
        """Note something that cannot be understood; see ``check``."""
        self._errors.append((place, message))

    def check(self) -> None:
        """Raise what was noted as errors: the first in full, others by their place, the rest counted.

        Raises:
            DataError: there was any.
        """
        if not self._errors:
            return
        (place, message), *others = self._errors
        text = f"{one_line(str(self.root))}/{place}: {message}"
        if others:
            text += f" (likewise {some([place for place, _ in others])})"
        raise DataError(text)


def describe(what: str, places: list[str]) -> str:
    """Return one kind of oddity as a line: what, how often, and the first few places."""
    return f"{what} ({len(places)}): {some(places)}"


def some(items: Iterable[str], shown: int = SHOWN) -> str:
    """Return the first few of many, and how many more there are."""
    items = list(items)
    rest = f", and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + rest


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 video, 2 videos, 2 classes."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}es" if noun.endswith("s") else f"{number} {noun}s"


def one_line(text: str) -> str:
    """Return a text of unknown origin, such that a terminal shows it on one line of bearable length."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
