"""What is mirrored into a tracking store: a sweep and its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrackedTrial:
    """A trial of the sweep, as the study names it."""

    key: str
    row: str
    seed: int
    directory: Path


@dataclass(frozen=True)
class Sweep:
    """What is mirrored where: one experiment per study, one parent run per sweep, one child run per trial.

    Attributes:
        study: the experiment's name.
        profile: the scale; a study at another scale is another sweep of the same experiment.
        trials: the sweep's trials.
        state: the file that remembers run ids.
        artifacts: where artifacts go if the tracking store is a data base that is used without a server.
        tags: further tags of every run, e.g. the paper's table.
        title: the study's title.
        source: the study file.
        command: the command line that repeats the sweep.
        lockfile: the study as submitted; None for trials that no study submitted.
        varied: the settings in which rows differ, by dotted key.
        baseline: the row that the others are compared with.
        reference: that row's values of what is varied.
        summarise: writes the tables and figures of the study into a folder, and returns the means of its rows.
    """

    study: str
    profile: str
    trials: list[TrackedTrial]
    state: Path
    artifacts: Path
    tags: dict[str, str]
    title: str = ""
    source: str = ""
    command: str = ""
    lockfile: Path | None = None
    varied: Sequence[str] = ()
    baseline: str | None = None
    reference: Mapping[str, Any] = field(default_factory=dict)
    summarise: Callable[[Path], Mapping[str, float]] | None = None
