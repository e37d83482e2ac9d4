"""Text from files, names and servers, made safe to show: a control character never reaches a terminal raw."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls but newline and tab: ESC starts a terminal's own commands
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # reordering of what is shown (Unicode TR 36, "Trojan Source")
    "\ud800-\udfff"  # lone surrogates, from file names and arguments that are not UTF-8
    "]"
)


def escaped(character: str) -> str:
    r"""Return one character as ``\uXXXX``, as JSON writes it, so that JSON stays JSON."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def first_line(error: object) -> str:
    """Return the first line of what an error says, or what it is called if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def printable(text: str) -> str:
    r"""Return the text with control characters other than newline and tab written as ``\uXXXX``."""
    return _HIDDEN.sub(lambda match: escaped(match[0]), text)


def encodable(text: str, encoding: str) -> str:
    r"""Return the text with characters that an encoding lacks written as ``\uXXXX``."""
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        return "".join(c if _has(encoding, c) else escaped(c) for c in text)


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
