"""What of this machine may stand in a document that is passed on: names, relative paths, addresses others can open."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.study.as_typed import sweep_command

if TYPE_CHECKING:
    from reports.results.results import Results

LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1|0\.0\.0\.0|::", re.IGNORECASE)


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
    seeds = {trial.seed for row in results.rows for trial in row.planned}
    return sweep_command(results.path or results.study, results.profile, seeds, results.overrides)
