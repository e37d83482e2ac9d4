"""Acceptances on record: one line each, with who and when."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from far.store.atomic import append_json_line, read_json_lines

FILE = "accepted.jsonl"


def accept(store: Path, what: str, **said: Any) -> None:
    """Put something on record.

    Args:
        store: the store's root.
        what: the kind of thing.
        **said: what of it.
    """
    store.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    append_json_line(store / FILE, {"what": what, **said, "by": _user(), "at": now})


def accepted(store: Path, what: str) -> list[dict[str, Any]]:
    """Return what is on record of a kind, from the first."""
    return [record for record in read_json_lines(store / FILE) if record.get("what") == what]


def by_whom(record: dict[str, Any]) -> str:
    """Return who accepted something, and when."""
    return f"by {record.get('by')} on {str(record.get('at'))[:10]}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        return "an unknown user"
