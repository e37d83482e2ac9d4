"""Keeping this machine out of what is handed on: folders, hosts, users, addresses of servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.redaction import redacted
from reports.shown import without_places

if TYPE_CHECKING:
    from orchestrator.workspace.workspace import Workspace

OURS = ("host", "pid")
"""Keys of records that tell which machine it was."""
PLUGIN = {"digest", "files", "root"}
"""Keys of the record of a plug-in."""
SOMEBODY = "somebody"


@dataclass(frozen=True)
class Scrub:
    """Rewrites what is copied.

    Attributes:
        roots: folders of this machine, each with the word that stands for it.
        words: whole values that are named otherwise in the copy, e.g. weights by an absolute path.
    """

    roots: tuple[tuple[str, str], ...]
    words: Mapping[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Return a text without places and credentials."""
        for before in sorted(self.words, key=len, reverse=True):
            text = text.replace(before, self.words[before])
        return redacted(without_places(text, self.roots))

    def value(self, value: Any) -> Any:
        """Return plain data in the same way; hosts and process numbers are left out, whoever accepted is somebody."""
        if isinstance(value, Mapping):
            kept = {key: self.value(item) for key, item in value.items() if key not in OURS}
            known = {"weights_root": "weights"} | ({"root": ""} if kept.keys() >= PLUGIN else {})
            return kept | {key: word for key, word in known.items() if key in kept}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value


def make_scrub(workspace: Workspace, words: Mapping[str, str]) -> Scrub:
    """Return what keeps a workspace's machine out of a copy."""
    settings = workspace.settings
    places = (
        (Path.home(), "~"), (settings.workspace, ""), (settings.store, "runs"),
        (settings.data_root, "data"), (settings.weights_root, "weights"),
    )  # fmt: skip
    named = dict.fromkeys((str(form), word) for path, word in places for form in (path.absolute(), path.resolve()))
    return Scrub(tuple(named), words)
