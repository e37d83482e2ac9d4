"""Data sets as they are distributed, read into one listing: which videos there should be, with what label, and where.

A layout only reads lists and folders; it opens no video (``prepare`` does). Each is a module here. Whatever
stands in a list ends up in the listing, in a warning, or in an error that names file and line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from far.data.sources.diagnostics import Diagnostics, one_line
from far.data.sources.layouts.class_folders import read_class_folders
from far.data.sources.layouts.kinetics import read_kinetics
from far.data.sources.layouts.path_lists import read_path_lists
from far.data.sources.layouts.ssv2 import read_something_something
from far.data.sources.listing import Listing, check_encoding
from far.errors import DataError
from far.registry import Registry, function_of

LAYOUTS: Registry[Callable[[Path, Diagnostics], Listing]] = Registry(
    "data set layout", accepts=function_of("root", "diagnostics")
)
"""Each maps the data set's folder to its listing, or raises ``DataError`` naming what it misses there."""

LAYOUTS.register("ssv2")(read_something_something)
LAYOUTS.register("k400")(read_kinetics)
LAYOUTS.register("csv")(read_path_lists)
LAYOUTS.register("folder")(read_class_folders)


def read_listing(layout: str, root: Path) -> Listing:
    """Return what a data set should hold.

    Raises:
        ConfigError: no layout has this name.
        DataError: the folder is not there, does not hold what the layout needs, or its lists have lines that cannot be
            understood.
    """
    read = LAYOUTS[layout]
    if not root.is_dir():
        what = "a file, not the folder that holds it" if root.is_file() else "no such folder"
        raise DataError(f"{one_line(str(root))}: {what}")
    root = root.absolute()
    try:
        listing = read(root, Diagnostics(root))
    except OSError as error:
        raise DataError(f"{one_line(str(error.filename or root))}: {error.strerror}") from None
    check_encoding(listing, root)
    return listing
