"""Names of rows, compared: exactly first, and by a looser spelling only where that leaves no doubt."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from far.errors import ConfigError

BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[\s\-_()‐-―]+(?=[^\W\d_])")
"""What people vary between words: ``Head-Split``, ``head split``, ``FAR (MVD)``. Beside a digit or a sign it may
mean something (``1e-3``, ``-1``), and any other mark distinguishes two rows (``1:1*``, ``FAR'``, ``x=1.0``)."""
SPACES = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
"""Spaces that may be left out; between two digits they may not."""


@lru_cache(maxsize=8192)
def loose(name: str) -> str:
    """Return a name without case, and without the spaces, hyphens and brackets that people vary between words."""
    folded = BETWEEN_LETTERS.sub("", unicodedata.normalize("NFC", name).casefold().strip())
    return SPACES.sub("", folded)


def find_name(wanted: str, names: Iterable[str], *, key: str | None = None) -> str | None:
    """Return the matching name: the equal one, else the only one that is spelled nearly so.

    Args:
        wanted: as it was typed.
        names: of what there is.
        key: what was typed, for the error message.

    Raises:
        ConfigError: several are spelled nearly so, and none exactly.
    """
    known = list(dict.fromkeys(names))
    if wanted in known:
        return wanted
    like = [name for name in known if loose(name) == loose(wanted)]
    if len(like) > 1:
        raise ConfigError(
            f"'{wanted}' may mean {' or '.join(repr(name) for name in like)}: write it as the study does",
            key=key,
        )
    return like[0] if like else None


def pair_names(own: Collection[str], theirs: Collection[str]) -> dict[str, str]:
    """Return for each of one's own names the one of theirs that it is, where that is beyond doubt.

    Equal names are pairs. Of the others those are pairs that are spelled alike (:func:`loose`) and like no other name
    on either side, so that a row never takes what belongs to another one.
    """
    pairs = {name: name for name in own if name in theirs}
    by_spelling = {loose(name): name for name in theirs if name not in pairs}
    often = Counter(loose(name) for side in (own, theirs) for name in side)
    for name in own:
        spelled = loose(name)
        if name not in pairs and spelled in by_spelling and often[spelled] == 2:
            pairs[name] = by_spelling[spelled]
    return pairs


def in_doubt(own: Collection[str], theirs: Collection[str], pairs: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of theirs that several of one's own are spelled like, none exactly, with those."""
    found: dict[str, list[str]] = {}
    for name in theirs:
        like = [each for each in own if each not in pairs and loose(each) == loose(name)]
        if name not in pairs.values() and len(like) > 1:
            found[name] = like
    return found


def read_names(text: str, names: Collection[str], *, what: str, key: str) -> list[str]:
    """Read names that are separated by commas, where a name may hold commas itself.

    Args:
        text: as it was typed.
        names: of what there is.
        what: is named, for the error message.
        key: the option.

    Raises:
        ConfigError: a part is no name, or the text can be cut in several ways.
    """
    parts = text.split(",")
    for find in (lambda part: part if part in names else None, lambda part: find_name(part, names, key=key)):
        ways = _cuts(parts, find)
        if len(ways) > 1:
            shown = " or ".join("; ".join(repr(name) for name in way) for way in ways)
            raise ConfigError(f"'{text}' may mean {shown}: give --row once for each", key=key)
        if ways:
            return list(dict.fromkeys(ways[0]))
    unknown = next((part.strip() for part in parts if find_name(part.strip(), names, key=key) is None), text)
    raise ConfigError(f"no {what} '{unknown}'", key=key, choices=names, got=unknown)


def _cuts(parts: Sequence[str], find: Callable[[str], str | None]) -> list[list[str]]:
    """Return in which ways parts can be put together again so that each piece is found: two at most."""
    ways: list[list[list[str]]] = [[[]]]  # by the number of parts that are used up
    for end in range(1, len(parts) + 1):
        found = {start: find(",".join(parts[start:end]).strip()) for start in range(end) if ways[start]}
        here = [[*way, name] for start, name in found.items() if name is not None for way in ways[start]]
        ways.append(here[:2])
    return ways[-1]
