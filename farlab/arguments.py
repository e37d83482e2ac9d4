"""What callers write in Python, as the command line takes it: studies, overrides, seeds, progress."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from far.plugins import load_plugin
from orchestrator.cli.console import make_console
from orchestrator.cli.datasets import progress_bar

if TYPE_CHECKING:
    from orchestrator.cli.console import PlainConsole

Studies = str | Path | Sequence[str | Path]
"""A study's name or file, a folder of studies, or several of these."""
Overrides = Mapping[str, Any] | Sequence[str]
"""``{"recipe.epochs": 3}``, nested as in a study file if you like, or ``["recipe.epochs=3"]``."""
Seeds = int | Iterable[int]
"""How many, from 0, or which."""
Progress = Callable[[int, int], None]


def texts(studies: Studies) -> list[str]:
    """Return studies as texts.

    Raises:
        ConfigError: there is none.
    """
    found = [str(each) for each in ([studies] if isinstance(studies, str | Path) else studies or ())]
    if not found:
        raise ConfigError("no study is named")
    return found


def assignments(overrides: Overrides | None) -> list[str]:
    """Return overrides as ``key=value`` texts.

    Raises:
        ConfigError: a value is nothing that a study file can say.
    """
    if overrides is None:
        return []
    if not isinstance(overrides, Mapping):
        if isinstance(overrides, str):
            raise ConfigError(f"overrides are a mapping or a list of key=value, not the text '{overrides}'")
        return [str(each) for each in overrides]
    try:
        return [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"overrides: {error}") from None


def seed_text(seeds: Seeds | None) -> str | None:
    """Return seeds as ``--seeds`` takes them."""
    if seeds is None or isinstance(seeds, int):
        return None if seeds is None else str(seeds)
    return "".join(f"{seed}," for seed in seeds)


def load_plugins(plugins: str | Path | Sequence[str | Path]) -> None:
    """Load plug-ins, each once; they stay for the rest of the session.

    Raises:
        ConfigError: one cannot be loaded.
    """
    for plugin in [plugins] if isinstance(plugins, str | Path) else plugins:
        load_plugin(plugin)


def console(*, shown: bool) -> PlainConsole:
    """Return where progress goes: standard output, or nowhere."""
    return make_console() if shown else make_console(io.StringIO())


@contextmanager
def shown_progress(what: str, *, shown: bool) -> Iterator[Progress]:
    """Show how far something is on standard error, or nothing."""
    if not shown:
        yield lambda done, total: None
        return
    with progress_bar(what) as show:
        yield show
