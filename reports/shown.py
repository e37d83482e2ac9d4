"""What of this machine may stand in a document that is passed on: names, relative paths, addresses others can open."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from far.errors import ConfigError
from orchestrator.study.lookup import find_study

if TYPE_CHECKING:
    from reports.results.results import Results

LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1|0\.0\.0\.0|::", re.IGNORECASE)


def study_word(path: Path) -> str:
    """Return how a study is named on the command line: by its name if that finds it from anywhere, else by its file."""
    try:
        found = path.is_absolute() and find_study(path.stem) == path
    except ConfigError:  # the name means two studies
        found = False
    return path.stem if found else here(path)


def here(path: Path) -> str:
    """Return a path as it is written in the current directory."""
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def can_be_opened_elsewhere(address: str) -> bool:
    """Whether an address names a server that other machines may reach, rather than this machine itself."""
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return bool(host) and LOOPBACK.fullmatch(host or "") is None


def without_places(text: str, roots: Iterable[tuple[str, str]], within: str = "") -> str:
    """Write what lies under these folders relative to them.

    Args:
        text: a document.
        roots: absolute folders and the word that stands for each, ``""`` for the current one; the innermost counts.
        within: markup that may stand within a path, where a line may end.
    """
    maybe = f"(?:{re.escape(within)})?+" if within else ""
    for root, word in sorted(roots, key=lambda each: -len(each[0])):
        if len(root) > 1:
            inside, itself = (f"{word}/", word) if word else ("", ".")
            written = maybe.join(map(re.escape, root))
            whole = re.compile(rf"(?<![\w.-]){written}{maybe}(?:(/)|(?![\w.-]))")
            text = whole.sub(lambda hit, a=inside, b=itself: a if hit[1] else b, text)  # type: ignore[misc]
    return text


def command(results: Results) -> str:
    """The command that runs what is missing of these results."""
    seeds = sorted({trial.seed for row in results.rows for trial in row.planned})
    counted = seeds == list(range(len(seeds)))
    shown = str(len(seeds)) if counted else ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")
    parts = ["farlab", "sweep", study_word(results.path) if results.path else results.study, *results.overrides]
    return shlex.join([*parts, "--profile", results.profile, "--seeds", shown])
