"""How every figure looks: print sizes, colours that colour-blind readers tell apart, markers beside colours."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from far.pictures import save_picture
from orchestrator.cli.quiet import talk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from reports.figures import Drawing
    from reports.results.results import Results

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), darkest first; yellow is left out on white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
CHARACTERS_PER_INCH, LINE, LINES_HELD = 18, 0.15, 4
"""Of a legend: what fits beside and below each other, and how many lines a figure of usual height has room for."""
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (5, 5)))
COLUMN, PAGE = 3.4, 7.0
"""Widths in inches of one column and of the page of a two-column paper."""
HEIGHT = 3.1
"""Height in inches of a figure, so that two of them stand side by side without a hole."""

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
    "legend.frameon": False,
}


@contextmanager
def styled(*, headless: bool = True) -> Iterator[None]:
    """Draw with these settings; pyplot forgets afterwards what was drawn.

    Args:
        headless: draw on no screen, from now on; a session that has one keeps it.
    """
    import matplotlib

    if headless:
        matplotlib.use("agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(SETTINGS):
        before = set(pyplot.get_fignums())
        try:
            yield
        finally:
            for number in set(pyplot.get_fignums()) - before:
                pyplot.close(number)


def look(index: int) -> dict[str, object]:
    """Colour, marker and line of the index-th row."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def bare(axis: Axes) -> None:
    """Take from a picture the ticks, grid and lines of its axes."""
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)


def legend_below(figure: Figure, *, handle: float = 2.6) -> None:
    """Put one legend for all axes below them, where it covers nothing, and make room for it.

    Args:
        figure: with axes that share their labels.
        handle: length of a sample of a line, in widths of a letter.
    """
    entries: dict[str, Any] = {}
    for axis in figure.axes:
        for sample, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, sample)
    width, height = figure.get_size_inches()
    room = int(width * CHARACTERS_PER_INCH)
    beside = 3 + handle
    labels, handles = [cut(label, int(room - beside)) for label in entries], list(entries.values())
    columns = max(1, min(len(labels), int(room / (max(map(len, labels)) + beside))))
    lines = -(-len(labels) // columns)
    figure.set_size_inches(width, height + LINE * max(0, lines - LINES_HELD))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=handle)


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def legend_label(name: str) -> str:
    """Return a row's name as a legend takes it: matplotlib leaves out what begins with an underscore."""
    return f" {name}" if name.startswith("_") else name


def titled(results: Results, *, width: int = 52) -> str:
    """Return a figure's title: the study's, in lines of so many characters, and at what scale it ran."""
    return f"{textwrap.fill(results.title or results.study, width)}\n(profile {results.profile})"


def seeds_text(counts: Collection[int]) -> str:
    """Return how many seeds the points of a figure have, from the fewest to the most."""
    least, most = min(counts), max(counts)
    return f"{most} seed{'s' if most > 1 else ''}" if least == most else f"{least} to {most} seeds"


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


def write(drawing: Drawing, path: Path) -> None:
    """Write a drawing with its title, and say its caption.

    Raises:
        ConfigError: as :func:`save`.
    """
    if drawing.title:
        drawing.figure.suptitle(drawing.title, fontsize=9)
    save(drawing.figure, path)
    talk(f"wrote {path}: {drawing.caption}")
