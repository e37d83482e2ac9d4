"""What the submissions of a store name: each cell of each study, with the trial that stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.plan.lockfile import locked_keys

if TYPE_CHECKING:
    from orchestrator.store.store import Store


@dataclass(frozen=True)
class Cell:
    """A row of a submitted study at one seed.

    Attributes:
        study: the study's name.
        profile: the scale of the submission.
        row: the row's name.
        seed: the seed.
        key: of the trial.
    """

    study: str
    profile: str
    row: str
    seed: int
    key: str

    def __str__(self) -> str:
        return f"{self.study} (profile {self.profile}): {self.row}, seed {self.seed}"


def cells(store: Store) -> list[Cell]:
    """Return the cells of all submissions as they stand, study by study; damaged submissions have none."""
    found = ((study, path.parent.name, path) for study in store.studies() for path in store.study(study).submissions())
    return [cell for study, profile, path in found for cell in _of(study, profile, path)]


def earlier_cells(store: Store) -> list[Cell]:
    """Return the cells of the submissions that later ones have replaced, the first first."""
    return [
        cell
        for study in store.studies()
        for path in store.study(study).submissions()
        for earlier in store.study(study).earlier(path.parent.name)
        for cell in _of(study, path.parent.name, earlier)
    ]


def _of(study: str, profile: str, path: Path) -> Iterator[Cell]:
    for row, seeds in locked_keys(path).items():
        for seed, key in seeds.items():
            yield Cell(study, profile, row, seed, key)
