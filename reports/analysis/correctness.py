"""Which videos each row's trials answer: from their results, or where those do not say, from their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from far.errors import DataError
from far.store import correctness as packed
from far.store.paths import TrialPaths
from reports.results.results import Results
from reports.results.trials import TrialRecord
from reports.statistics.outcomes import Bits, Outcomes, read_ids, read_scores, stack

Answer = tuple[Sequence[str], Bits]


class Videos(Sequence[str]):
    """The videos that a trial answered, known by their digest; read only where trials answered different ones.

    Args:
        digest: ``far.store.correctness.digest`` of them.
        count: how many there are.
        path: predictions of a trial that answered these.
    """

    def __init__(self, digest: str, count: int, path: Path) -> None:
        self.digest, self._count, self._path = digest, count, path

    @cached_property
    def _ids(self) -> tuple[str, ...]:
        ids = read_ids(self._path)
        if packed.digest(ids) != self.digest:
            raise DataError(f"{self._path}: holds other videos than the result beside it says")
        return ids

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._ids[index]

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Videos):
            return self.digest == other.digest
        return isinstance(other, Sequence) and self.digest == packed.digest(other)

    def __hash__(self) -> int:
        return hash(self.digest)


def row_outcomes(results: Results, metric: str = "top1") -> tuple[dict[str, Outcomes], list[str]]:
    """Return each row's answers by seed, of the trials that count, and what was wrong with files.

    Args:
        results: of a study.
        metric: ``top1`` or ``top5``.
    """
    return outcomes_of({row.name: row.finished for row in results.rows}, metric)


def outcomes_of(
    finished: Mapping[str, Sequence[TrialRecord]], metric: str = "top1"
) -> tuple[dict[str, Outcomes], list[str]]:
    """Return the answers by row and seed of finished trials, and what was wrong with files that could not be read."""
    problems: list[str] = []
    known: dict[str, Videos] = {}
    found: dict[str, Answer] = {}
    for trial in (trial for trials in finished.values() for trial in trials):
        if trial.key not in found:
            answer = _answer(trial, metric, known)
            if isinstance(answer, str):
                problems.append(answer)
            elif answer is not None:
                found[trial.key] = answer
    return {row: _of_row(trials, found, problems) for row, trials in finished.items()}, problems


def _of_row(trials: Sequence[TrialRecord], found: Mapping[str, Answer], problems: list[str]) -> Outcomes:
    expected = max((int(trial.result.get("expected") or 0) for trial in trials), default=0)
    try:
        return stack({t.seed: found[t.key] for t in trials if t.key in found}, expected)
    except DataError as error:
        problems.append(str(error))
        return stack({}, expected)


def _answer(trial: TrialRecord, metric: str, known: dict[str, Videos]) -> Answer | str | None:
    """Return a trial's answers, what is wrong with them, or None where it is no trial of this store."""
    if trial.directory is None:
        return None
    inside: Mapping[str, Any] | None = trial.result.get("answers")
    if inside:
        try:
            bits = packed.unpack(inside, metric)
            name = str(inside["videos"])
        except (ValueError, KeyError) as error:
            return f"{TrialPaths(trial.directory).result}: {error}"
        videos = known.get(name)
        if videos is None:
            videos = known[name] = Videos(name, len(bits), TrialPaths(trial.directory).predictions)
        return videos, bits
    try:
        scores = read_scores(TrialPaths(trial.directory).predictions)
    except DataError as error:
        return f"{error}, so that {trial.row} seed {trial.seed} has no paired comparison"
    return scores.ids, scores.correct(packed.TOP[metric])
