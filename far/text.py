"""What is shown: text from files, names and servers without raw control characters, numbers rounded half up."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal

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


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article: "an int", "a str"."""
    return f"{'an' if noun[:1].lower() in tuple('aeiou') else 'a'} {noun}"


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


_ROUNDING = Context(prec=400, rounding=ROUND_HALF_UP)  # digits enough for any float
_NOISE = 8
"""Decimals beyond those shown in which binary arithmetic may have left a number off its decimal value."""


def rounded(value: float, decimals: int) -> Decimal:
    """Round half up (away from zero), as a person does: 62.25 is 62.3, and so is a mean of 62.249999999999996.

    Accuracies are fractions of at most some million videos and seeds, so that none but a tie lies as close to a tie as
    the noise that is rounded away first: the digits are those of the exact counts.
    """
    exact = Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))
    for places in (decimals + _NOISE, decimals) if exact.is_finite() else ():
        exact = exact.quantize(Decimal(1).scaleb(-places), context=_ROUNDING)
    return exact
