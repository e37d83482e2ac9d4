"""What a tracking store is to a sweep: something that is kept up to date from the trials' folders, and may be away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from far.registry import Registry, callable_with, named
from orchestrator.tracking.tracked import Sweep, TrackedTrial


class Tracker(Protocol):
    """Mirrors sweeps into a tracking store, without training waiting for it or failing with it.

    Attributes:
        problem: why the store is not reached now, None if it is.
    """

    problem: str | None

    def start(self) -> None:
        """Start mirroring, in parallel with the trials."""

    def add(self, study: str, trial: TrackedTrial) -> None:
        """Mirror one more trial of a study, which a search has just proposed."""

    @property
    def reason(self) -> str:
        """Why the store is not up to date, after ``close`` has said that it is not."""

    @property
    def troubles(self) -> Sequence[str]:
        """What the store did not take, trial by trial; everything else has arrived."""

    def close(
        self,
        *,
        timeout: float,
        at_most: float = float("inf"),
        on_wait: Callable[[int, int], None] = lambda done, total: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> bool:
        """Bring the store up to date, and stop; return whether all was sent.

        Args:
            timeout: seconds of silence after which a store is left as it is, to be caught up with later.
            at_most: seconds after which it is left even if it answers.
            on_wait: called about once per second with how many trials were looked at, and how many there are.
            on_note: called with what was done besides sending what is new, in words.
        """


TRACKERS: Registry[Callable[[str, Sequence[Sweep], bool], Tracker]] = Registry(
    "tracker", "tracking_uri", accepts=callable_with("uri", "sweeps", "rebuild")
)
"""By the scheme of ``tracking_uri``; a scheme that is not here is MLflow's. Each is made with the URI, what is to be
mirrored, and whether all of it is to be written again.
"""
DEFAULT = "mlflow"


@TRACKERS.register(DEFAULT)
def mlflow(uri: str, sweeps: Sequence[Sweep], rebuild: bool) -> Tracker:
    """MLflow: a server, or a data base in a file."""
    tracker: Tracker = named("orchestrator.tracking.mirror:Mirror")(uri, sweeps, rebuild=rebuild)
    return tracker


def make_tracker(uri: str, sweeps: Sequence[Sweep], *, rebuild: bool = False) -> Tracker:
    """Return the tracker of a URI, MLflow's unless its scheme is another's."""
    scheme = uri.partition("://")[0]
    return TRACKERS[scheme if scheme in TRACKERS else DEFAULT](uri, sweeps, rebuild)
