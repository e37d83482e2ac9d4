"""What a tracking store is to a sweep: something that is kept up to date from the trials' folders, and may be away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from far.registry import Registry, named
from orchestrator.tracking.tracked import Sweep, TrackedTrial


class Tracker(Protocol):
    """Mirrors sweeps into a tracking store, without training waiting for it or failing with it.

    Attributes:
        problem: why the store is not reached now, None if it is.
    """

    problem: str | None

    def start(self) -> None:
        """Start mirroring, beside the trials."""

    def add(self, study: str, trial: TrackedTrial) -> None:
        """Mirror one more trial of a study, which a search has just proposed."""

    @property
    def reason(self) -> str:
        """Why the store is not up to date, after ``close`` has said that it is not."""

    def close(self, *, timeout: float, at_most: float = float("inf")) -> bool:
        """Bring the store up to date, and stop; return whether all was sent.

        Args:
            timeout: seconds of silence after which a store is left as it is, to be caught up with later.
            at_most: seconds after which it is left even if it answers.
        """


TRACKERS: Registry[Callable[[str, Sequence[Sweep]], Tracker]] = Registry("tracker", "tracking_uri")
"""By the scheme of ``tracking_uri``; a scheme that is not here is MLflow's."""
DEFAULT = "mlflow"


@TRACKERS.register(DEFAULT)
def mlflow(uri: str, sweeps: Sequence[Sweep]) -> Tracker:
    """MLflow: a server, or a data base in a file."""
    tracker: Tracker = named("orchestrator.tracking.mirror:Mirror")(uri, sweeps)
    return tracker


def scheme_of(uri: str) -> str | None:
    """Return the tracker that a URI's scheme names, None if it is MLflow's affair."""
    scheme, colon, _ = uri.partition(":")
    return scheme if colon and scheme in TRACKERS else None


def make_tracker(uri: str, sweeps: Sequence[Sweep]) -> Tracker:
    """Return the tracker of a URI."""
    return TRACKERS[scheme_of(uri) or DEFAULT](uri, sweeps)
