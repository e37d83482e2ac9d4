"""The tables and figures of a finished study, which its run in MLflow gets.

They are made by ``reports``, which this package does not know: whoever composes the commands names the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from far.registry import named

if TYPE_CHECKING:
    from orchestrator.workspace.settings import Settings

Summarise = Callable[[Path], Mapping[str, float]]
"""Writes files into a folder and returns metrics."""
_made_by: list[str] = []


def make_by(target: str) -> None:
    """Name what makes the tables and figures.

    Args:
        target: ``module:function``, imported when a study has finished; it takes the settings, the names of study and
            profile, and a folder, writes the files into that and returns metrics.
    """
    _made_by[:] = [target]


def summary_of(settings: Settings | None, study: str, profile: str) -> Summarise | None:
    """Return what makes the files of one study; None if nobody does, or the workspace does not want them."""
    if settings is None or not settings.mlflow_report or not _made_by:
        return None

    def summarise(folder: Path) -> Mapping[str, float]:
        metrics: Mapping[str, float] = named(_made_by[0])(settings, study, profile, folder)
        return metrics

    return summarise
