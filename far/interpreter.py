"""Child interpreters: they import what this one imports, and nothing from the working directory.

``python -m`` and ``python -c`` put the working directory first on ``sys.path``, so that a ``statistics.py`` of the
user's, or another checkout of FARLab, would run in a child in place of what the parent imports.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HOME = str(Path(__file__).resolve().parent.parent)
"""The folder that this package is imported from."""


def python_command(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter without the working directory on its path."""
    return [sys.executable, "-P", *arguments]


def search_path() -> list[str]:
    """Return the absolute entries of ``sys.path`` in order, the working directory left out.

    It stays where the user put it on purpose: as the home of this package or as an absolute entry of ``PYTHONPATH``.
    """
    try:
        here = str(Path.cwd())
    except FileNotFoundError:  # it has been removed
        here = ""
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    entries = [str(Path(entry).absolute()) for entry in sys.path if entry and Path(entry).exists()]
    kept = [entry for entry in entries if entry != here or entry == _HOME or entry in named]
    return list(dict.fromkeys(kept if _HOME in kept else [*kept, _HOME]))


def child_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment for a child interpreter; its own children are kept from the folder too."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(search_path()),
        "PYTHONSAFEPATH": "1",
        **variables,
    }
