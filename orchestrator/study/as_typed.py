"""Commands that people are told to type: with the study, the overrides, the profile and the seeds that they need."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from far.errors import ConfigError
from orchestrator.study.lookup import find_study


def sweep_command(study: Path | str, profile: str, seeds: Iterable[int], overrides: Sequence[str] = ()) -> str:
    """Return the command that runs what is missing of a study, ``farlab sweep …``.

    Args:
        study: its file, or its name where that is not known.
        profile: the scale.
        seeds: at which its rows are trained.
        overrides: settings that the command line gave, as ``key=value``.
    """
    numbers = sorted(set(seeds))
    counted = numbers == list(range(len(numbers)))
    shown = str(len(numbers)) if counted else ",".join(map(str, numbers)) + ("," if len(numbers) == 1 else "")
    word = study_word(study) if isinstance(study, Path) else study
    return shlex.join(["farlab", "sweep", word, *overrides, "--profile", profile, "--seeds", shown])


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
