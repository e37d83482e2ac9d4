"""How every figure looks: print sizes, colours that colour-blind readers tell apart, markers beside colours."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from far.pictures import save_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.results.results import Results

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), darkest first; yellow is left out on white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (5, 5)))
COLUMN, PAGE = 3.4, 7.0
"""Widths in inches of one column and of the page of a two-column paper."""

DATES: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
"""What a kind of picture would say of when it was drawn."""
SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.3,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.hashsalt": "farlab",
    "text.parse_math": False,  # names of rows and classes are the user's words, not TeX
    "figure.constrained_layout.use": True,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw with these settings, on no screen."""
    import matplotlib

    matplotlib.use("agg")
    with matplotlib.rc_context(SETTINGS):
        yield


def look(index: int) -> dict[str, object]:
    """Colour, marker and line of the index-th row."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def legend_label(name: str) -> str:
    """Return a row's name as a legend takes it: matplotlib leaves out what begins with an underscore."""
    return f" {name}" if name.startswith("_") else name


def titled(results: Results, more: str = "", *, width: int = 52) -> str:
    """Return a figure's title: the study's, in lines of so many characters, and at what scale it ran."""
    return f"{textwrap.fill(results.title or results.study, width)}\n(profile {results.profile}{more})"


def picture_kind(path: Path) -> str:
    """Return which kind of picture a file's name asks for; asked before anything is drawn.

    Raises:
        ConfigError: none that can be written.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in DATES:
        raise ConfigError(
            f"'{path.name}' is no picture", key="--output", choices=[f".{k}" for k in DATES], got=path.suffix
        )
    return kind


def save(figure: Figure, path: Path) -> None:
    """Write PNG, PDF or SVG by the file's name, without a date, so that equal figures are equal files.

    Raises:
        ConfigError: the name asks for another format, or the file cannot be written.
    """
    kind = picture_kind(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lacking = save_picture(figure, path, metadata=DATES[kind])
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", key="--output", where=str(path)) from None
    if lacking:
        print(f"note: {lacking}", file=sys.stderr)
