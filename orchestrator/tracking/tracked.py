"""What is mirrored into a tracking store: a sweep and its trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
        artifacts: where artifacts go if the tracking store is a local data base.
        tags: further tags of every run, e.g. the paper's table.
    """

    study: str
    profile: str
    trials: list[TrackedTrial]
    state: Path
    artifacts: Path
    tags: dict[str, str]
