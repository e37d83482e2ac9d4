"""Where submitted studies stand, read from the store alone: works while a sweep runs, and after it died."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from far.errors import ConfigError
from far.store.attempts import Attempt, Clips, sum_of_clips
from far.store.records import clips_of, read_epochs, read_heartbeat
from orchestrator.plan.lockfile import locked_keys, read_lockfile
from orchestrator.store.store import Store, TrialState, is_held, refuse_unknown
from orchestrator.study.names import find_name

STATES: tuple[TrialState, ...] = (
    "running", "queued", "missing", "interrupted", "failed", "diverged", "partial", "corrupt", "finished",
)  # fmt: skip


@dataclass(frozen=True)
class TrialStatus:
    """One cell of a submitted study.

    Attributes:
        epoch: finished epochs.
        epochs: epochs to train.
        phase: what it is doing, of a running trial.
        loss: the last training loss in nats.
        top1: of the result, or of the last validation; percent.
        attempts: how often it was started.
        error: why it failed or diverged.
        clips: how many its starts were delivered and had decoded, None if they did not count.
    """

    study: str
    profile: str
    row: str
    seed: int
    key: str
    state: TrialState
    epoch: int
    epochs: int
    phase: str | None
    loss: float | None
    top1: float | None
    attempts: int
    error: str | None
    clips: Clips | None = None


@dataclass(frozen=True)
class StudyStatus:
    """A submitted study and the process that runs it, if any."""

    study: str
    profile: str
    title: str
    submitted_at: str
    driver: str | None
    trials: tuple[TrialStatus, ...]

    def count(self, state: TrialState) -> int:
        """Return how many distinct trials are in a state."""
        return len({trial.key for trial in self.trials if trial.state == state})

    @property
    def clips(self) -> Clips | None:
        """Clips of its distinct trials, as far as these counted them."""
        return sum_of_clips({trial.key: trial.clips for trial in self.trials}.values())

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "clips": self.clips}


def statuses(store: Store, studies: Sequence[str] = (), profile: str | None = None) -> list[StudyStatus]:
    """Return where studies stand, by name; all that were ever submitted if none is named.

    Raises:
        ConfigError: a study, or a profile of it, was never submitted to this store.
    """
    known = store.studies()
    for name in studies:
        if name not in known:
            raise ConfigError(f"no study '{name}' was submitted to {store.root}", choices=known, got=name)
    found = [
        _study(store, name, path.parent.name, path)
        for name in studies or known
        for path in store.study(name).submissions()
        if profile in (None, path.parent.name)
    ]
    if profile is not None and not found:
        profiles = {path.parent.name for name in known for path in store.study(name).submissions()}
        raise ConfigError(f"nothing was submitted with profile '{profile}'", choices=sorted(profiles), got=profile)
    return found


def chosen(
    studies: Iterable[StudyStatus],
    *,
    rows: Sequence[str] = (),
    states: Sequence[str] = (),
    ids: Sequence[str] = (),
) -> list[StudyStatus]:
    """Keep the trials in these rows, states and with keys that begin so; each filter left out lets all through.

    Raises:
        ConfigError: there is no such state, or no such row in any of the studies.
    """
    studies = list(studies)
    for state in states:
        if state not in STATES:
            raise ConfigError(f"unknown state '{state}'", key="--state", choices=STATES, got=state)
    names = list(dict.fromkeys(trial.row for study in studies for trial in study.trials))
    meant = [find_name(row, names, key="--row") for row in rows]
    for row, found in zip(rows, meant, strict=True):
        if found is None:
            raise ConfigError(f"no row '{row}'", key="--row", choices=names, got=row)

    refuse_unknown(ids, [trial.key for study in studies for trial in study.trials])

    def wanted(trial: TrialStatus) -> bool:
        return (
            (not rows or trial.row in meant)
            and (not states or trial.state in states)
            and (not ids or trial.key.startswith(tuple(ids)))
        )

    return [
        StudyStatus(s.study, s.profile, s.title, s.submitted_at, s.driver, tuple(filter(wanted, s.trials)))
        for s in studies
    ]


def _study(store: Store, name: str, profile: str, path: Any) -> StudyStatus:
    record, keys = read_lockfile(path), locked_keys(path)
    states = store.states({key for row in keys.values() for key in row.values()})
    lock = store.lock_study(name)
    driver = lock.owner() if is_held(lock.path) else None

    def waiting(key: str) -> TrialState:
        """Return the state; what its sweep will yet come to is no more interrupted than what was never begun."""
        resting = driver is not None and states[key] == "interrupted" and not store.paths(key).cancel.exists()
        return "queued" if resting else states[key]

    trials = tuple(
        _trial(store, name, profile, row, seed, key, waiting(key), record["rows"][row]["config"])
        for row, seeds in keys.items()
        for seed, key in seeds.items()
    )
    return StudyStatus(name, profile, record.get("title", ""), record.get("submitted_at", ""), driver, trials)


def _trial(
    store: Store, study: str, profile: str, row: str, seed: int, key: str, state: TrialState, config: Any
) -> TrialStatus:
    paths = store.paths(key)
    epochs = int(config["recipe"]["epochs"])
    result, attempts = None, list[Attempt]()
    last: dict[str, Any] = {}
    beat: dict[str, Any] = {}
    if state != "missing":
        attempts = store.trial(key).get("attempts") or []
        result = store.result(key)
        last = (read_epochs(paths) or [{}])[-1]
    if state not in ("missing", "finished"):
        beat = read_heartbeat(paths) or {}
    is_running = state == "running"
    error = (result or {}).get("error")
    top1 = ((result or {}).get("metrics") or {}).get("top1")
    return TrialStatus(
        study=study,
        profile=profile,
        row=row,
        seed=seed,
        key=key,
        state=state,
        epoch=int(last.get("epoch", -1)) + 1,
        epochs=epochs,
        phase=_phase(beat) if is_running else None,
        loss=beat["loss"] if is_running and beat.get("loss") is not None else last.get("train_loss"),
        top1=last.get("val_top1") if top1 is None else top1,
        attempts=len(attempts),
        error=f"{error['kind']}: {error['message']}"
        if error
        else "cancelled"
        if paths.cancel.exists()
        else _loss(attempts)
        if state in ("running", "interrupted")
        else None,
        clips=clips_of(attempts, result, beat),
    )


def _loss(attempts: list[Attempt]) -> str | None:
    """Return why the process of a trial that is not over was lost last, None if it was not."""
    reasons = [attempt["lost"] for attempt in attempts if "lost" in attempt]
    return f"lost {len(reasons)} times so far, the last time: {reasons[-1]}" if reasons else None


def _phase(beat: dict[str, Any]) -> str | None:
    total, phase = beat.get("total") or 0, beat.get("phase")
    return f"{phase} {100 * beat['done'] // total} %" if total and phase else phase
