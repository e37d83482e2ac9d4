"""Shared parts of the commands on data sets: choosing one, and progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from far.config import parse_override, resolve
from far.data.sources.demo import MOTIONS
from far.data.sources.manifest import read_manifest
from far.data.sources.open import DEMO, locate, open_manifest
from far.errors import ConfigError
from orchestrator.cli.completion import offer_data_sets
from orchestrator.cli.console import make_console
from orchestrator.cli.quiet import is_quiet
from orchestrator.study.profiles import find_profile, profile_directories
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import is_generated

if TYPE_CHECKING:
    from far.config import TrialConfig
    from far.data.sources.manifest import Manifest


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="[SOURCE]", autocompletion=offer_data_sets, help="demo, or the name or path of a prepared data set."
    ),
]
SHOWN = 20
"""Findings of each kind that are shown before the rest is only counted."""
SECONDS_BETWEEN_LINES = 60.0
"""Seconds between lines of progress in a pipe."""


def load(source: str, profile: str | None = None, *overrides: str) -> Manifest:
    """Return a data set's manifest; ``demo`` is that of the profile, by default the workspace's, with these settings.

    Raises:
        ConfigError: there is none, or it is the demo's and not generated yet.
    """
    settings = load_settings()
    if source != DEMO:
        return read_manifest(locate(source, settings.data_root))
    data = configured(profile, *overrides).data.model_copy(update={"source": DEMO, "classes": len(MOTIONS)})
    if not is_generated(data, settings.data_root):
        command = " ".join(["farlab data generate", f"--profile {profile or settings.profile}", *overrides])
        raise ConfigError(f"the demo data set is not in {settings.data_root} yet: `{command}` makes it")
    return open_manifest(data, settings.data_root)


def configured(profile: str | None, *overrides: str) -> TrialConfig:
    """Return the configuration of a profile, by default the workspace's, with overrides."""
    settings = load_settings()
    found = find_profile(profile or settings.profile, profile_directories(settings.workspace))
    return resolve([*found.layers, *(parse_override(text) for text in overrides)])


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on stderr: a bar on a terminal, a line per minute in a pipe."""
    if is_quiet():
        yield lambda done, total: None
        return
    console = make_console(stderr=True)
    if not console.is_terminal:
        with line_a_minute(what) as show:
            yield show
        return
    columns = TextColumn(what, markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def line_a_minute(what: str) -> Iterator[Callable[[int, int], None]]:
    """Print on stderr how far it is, once per minute, also while a single file takes longer than that."""
    ended = threading.Event()
    state: list[int] = []

    def report() -> None:
        while not ended.wait(SECONDS_BETWEEN_LINES):
            with suppress(OSError, ValueError):  # the reader has gone
                if state:
                    typer.echo(f"{what}: {state[0]} of {state[1]}", err=True)

    def show(done: int, total: int) -> None:
        state[:] = done, total

    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield show
    finally:
        ended.set()
        thread.join()
