"""``farlab logs``: what a trial's processes have said."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from orchestrator.cli.trials import TrialArgument, find_trial
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from orchestrator.store.store import Store


def logs(
    trial: TrialArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the trial has ended.")] = False,
) -> None:
    """Print everything that a trial's processes have said.

    Examples:
        farlab logs 30c4
        farlab logs head_ratio/1:1/0 --follow
    """
    store = open_workspace().store
    key = find_trial(trial, store).key
    path = store.paths(key).log
    if not path.exists() and not follow:
        raise ConfigError(f"trial {key} ({store.state(key)}) has said nothing yet", where=str(path))
    for text in follow_file(store, key) if follow else [path.read_text(errors="replace")]:
        sys.stdout.write(text)
        sys.stdout.flush()


def follow_file(store: Store, key: str, wait: float = 0.3) -> Iterator[str]:
    """Yield a trial's log as it grows, until the trial is no longer running."""
    path, position = store.paths(key).log, 0
    while True:
        running = store.state(key) == "running"  # asked first, so that what is written last is not missed
        if path.exists():
            with path.open(errors="replace") as stream:
                stream.seek(position)
                text = stream.read()
                position = stream.tell()
            if text:
                yield text
        if not running:
            return
        time.sleep(wait)
