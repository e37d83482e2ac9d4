"""Training that a sweep's trials did more than once, from their records."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from far.store.atomic import read_json, read_json_lines
from far.store.paths import TrialPaths
from far.train.heartbeat import INTERVAL
from orchestrator.store.store import Store


@dataclass(frozen=True)
class Epochs:
    """Epochs of some finished trials.

    Attributes:
        needed: what an undisturbed sweep trains.
        trained: what was trained, at most: a killed process last reported up to a second before.
    """

    needed: float = 0.0
    trained: float = 0.0

    def __add__(self, other: Epochs) -> Epochs:
        return Epochs(self.needed + other.needed, self.trained + other.trained)

    @property
    def ratio(self) -> float:
        """Trained over needed."""
        return self.trained / self.needed if self.needed else 1.0


def epochs_of(store: Store, keys: Collection[str]) -> Epochs:
    """Return the epochs of the trials among these that are finished."""
    return sum((_of_trial(store.paths(key)) for key in keys), Epochs())


def _of_trial(paths: TrialPaths) -> Epochs:
    result, spec = read_json(paths.result), read_json(paths.trial)
    if not isinstance(result, dict) or not isinstance(spec, dict) or result.get("state") != "finished":
        return Epochs()
    needed, attempts = result["epochs"], [each for each in spec.get("attempts") or [] if "epoch" in each]
    seconds = [record["train_seconds"] for record in read_json_lines(paths.metrics)]
    silence = INTERVAL * len(seconds) / sum(seconds)  # epochs between two signs of life
    trained = 0.0
    for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
        begun = attempt["epoch"] + attempt.get("step", 0) * needed / result["steps"]
        reached = needed if following is None else _reached(attempt, begun, silence)
        trained += max(0.0, reached - begun)
    return Epochs(needed, trained)


def _reached(attempt: dict[str, float], begun: float, silence: float) -> float:
    """Return where a start ended that another one followed."""
    reached = attempt.get("reached", begun)
    return reached if "ended" in attempt or reached == int(reached) else reached + silence
