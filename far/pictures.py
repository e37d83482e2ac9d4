"""Saving what matplotlib has drawn, whatever the names in it hold."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from far.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LACKING = re.compile(r"Glyph (\d+) .* missing from font")


def save_picture(figure: Figure, target: Any, **options: Any) -> str:
    """Save a figure with control characters of its texts written as ``\\uXXXX``.

    Args:
        figure: what was drawn.
        target: a path or a stream.
        options: of ``Figure.savefig``.

    Returns:
        A note of the characters that the font lacks and that are drawn as boxes; empty if there are none.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(target, **options)
    lacking = {match[1] for each in caught if (match := _LACKING.match(str(each.message)))}
    for each in caught:
        if not _LACKING.match(str(each.message)):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if not lacking:
        return ""
    shown = " ".join(chr(int(number)) for number in sorted(lacking, key=int)[:20])
    return f"the font of figures lacks {shown}: drawn as boxes"
