"""When a table may claim something, and how strictly: every look at further seeds spends a part of the error.

A study's analysis is planned at its submission: once all seeds of ``study.lock.yaml`` have ended, the table makes its
claims, and ``looks.json`` beside the lockfile records that it did. A look is a distinct set of finished trials whose
claims were shown; seeds that are added after it are a further look, at the level that is left for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from far.errors import FarError
from far.store.atomic import read_json, write_json
from far.store.lock import FileLock
from orchestrator.plan.lockfile import read_lockfile
from orchestrator.store.store import Store
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord
from reports.statistics.verdicts import LEVELS, level_of_look

Pair = tuple[str, str]
ENDED = (State.FINISHED, State.FAILED, State.DIVERGED, State.INCOMPARABLE, State.INVALID)
"""States of a trial that count as there: what failed for good or diverged will not come."""
FILE = "looks.json"


@dataclass(frozen=True)
class _Look:
    """What is read of a recorded look."""

    trials: str
    look: int


@dataclass(frozen=True)
class _Looks:
    looks: list[_Look]


@dataclass(frozen=True)
class Standing:
    """What a table may claim now.

    Attributes:
        look: number of this look, from 1.
        level: of its tests.
        withheld: why it claims nothing; empty where it does.
        interim: whether that is because planned seeds are still to come.
        post_hoc: why single comparisons claim nothing all the same.
        margin_withheld: why equality is not claimed; empty where it may be.
        notes: what a reader must know of earlier looks.
    """

    look: int = 1
    level: float = LEVELS[0]
    withheld: str = ""
    interim: bool = False
    post_hoc: Mapping[Pair, str] = field(default_factory=dict)
    margin_withheld: str = ""
    notes: tuple[str, ...] = ()


class Looks:
    """The looks at one study at one profile.

    Args:
        results: of the study.
        pairs: comparisons that the table makes, (row, reference).
    """

    def __init__(self, results: Results, pairs: Sequence[Pair]) -> None:
        self.results, self.pairs = results, pairs
        # The placebo's seeds may change with what is finished, and it is no comparison of the study's.
        self.rows = [row for row in results.rows if row.name != results.placebo]
        self._path: Path | None = None
        if results.home is not None:
            self._path = Store(results.home).study(results.study).lockfile(results.profile).with_name(FILE)

    def standing(self) -> Standing:
        """Return what the table may claim; nothing is recorded yet."""
        planned = self._planned
        if planned is None:
            text = (
                "this study was not submitted with these trials, so that no analysis was planned; `farlab sweep` does"
            )
            return Standing(withheld=text)
        recorded = self._recorded()
        if recorded is None:
            return Standing(withheld=f"{self._path}, which counts the looks at this study, is damaged")
        known = next((look for look in recorded if look["trials"] == self.digest), None)
        number = known["look"] if known else max((look["look"] for look in recorded), default=0) + 1
        number += 0 if known else self._shrunk(planned)
        level = level_of_look(number)
        notes = tuple(_said(look) for look in recorded if look["look"] < number)
        lacking = [] if known and self._all_ended else self._lacking(planned)
        if lacking:
            seeds = sorted({seed for _, seed in lacking})
            text = (
                f"{len(lacking)} of {len(self._cells(planned))} planned trials have not ended (seeds {_listed(seeds)})"
            )
            return Standing(number, level or LEVELS[-1], text, interim=True, notes=notes)
        if level is None:
            text = (
                f"look {number}: the error of this study was spent in {len(LEVELS)} looks; new claims take a new study"
            )
            return Standing(number, LEVELS[-1], text, notes=notes)
        return Standing(
            number, level, post_hoc=dict(self._post_hoc()), margin_withheld=self._other_margin(), notes=notes
        )

    def record(self, standing: Standing, verdicts: Mapping[Pair, str]) -> str:
        """Write down that these claims are shown, if the results allow more than those that were recorded before.

        Returns:
            Why they must not be, because that cannot be written; empty where it was, or had been before.
        """
        assert self._path is not None
        try:
            if self._is_recorded():
                return ""
            if self.results.recorded_claims:
                return "no report has recorded this look"
            with FileLock(self._path.with_suffix(".lock"), f"the looks of study '{self.results.study}'").acquire(5.0):
                if self._is_recorded():
                    return ""
                looks = self._recorded() or []
                if any(look["look"] >= standing.look for look in looks):
                    return "another report has just taken a look at this study: run the command again"
                write_json(self._path, {"looks": [*looks, self._look(standing, verdicts)]})
        except (FarError, OSError) as error:
            return f"this look cannot be recorded in the store, so that nothing new is claimed ({error})"
        return ""

    @cached_property
    def finished(self) -> dict[str, TrialRecord]:
        """Finished trials by key."""
        return {trial.key: trial for row in self.rows for trial in row.finished}

    @cached_property
    def digest(self) -> str:
        """Of the set of finished trials."""
        return hashlib.sha256("\n".join(sorted(self.finished)).encode()).hexdigest()[:16]

    def _is_recorded(self) -> bool:
        return any(look["trials"] == self.digest for look in self._recorded() or ())

    def _recorded(self) -> list[dict[str, Any]] | None:
        """Return the looks taken so far, None if the file that counts them is damaged."""
        if self._path is None or not self._path.exists():
            return []
        record = read_json(self._path, _Looks)
        return None if record is None else list(record["looks"])

    def _look(self, standing: Standing, verdicts: Mapping[Pair, str]) -> dict[str, Any]:
        return {
            "look": standing.look,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "level": standing.level,
            "trials": self.digest,
            "finished": len(self.finished),
            "seeds": sorted({trial.seed for trial in self.finished.values()}),
            "margin": self.results.equal_within,
            "verdicts": [[*pair, said] for pair, said in verdicts.items()],
        }

    @cached_property
    def _submissions(self) -> list[Mapping[str, Any]]:
        """Every submission of the study at this profile, the latest first."""
        if self._path is None:
            return []
        now = self._path.with_name("study.lock.yaml")
        history = sorted((self._path.parent / "history").glob("study.lock.*.yaml"), reverse=True)
        return [record for path in (now, *history) if (record := read_lockfile(path))]

    @cached_property
    def _planned(self) -> Mapping[str, Any] | None:
        """The latest submission of these rows, which is the plan."""
        return next((record for record in self._submissions if self._is_of_these(record)), None)

    def _is_of_these(self, record: Mapping[str, Any]) -> bool:
        for row in self.rows:
            trials = record["rows"].get(row.name, {}).get("trials", {})
            if not any(trials.get(str(trial.seed)) == trial.key for trial in row.planned):
                return False
        return True

    @property
    def _all_ended(self) -> bool:
        return all(trial.state in ENDED for row in self.rows for trial in row.planned)

    def _lacking(self, record: Mapping[str, Any]) -> list[tuple[str, int]]:
        """Return rows and seeds that were planned and have not ended."""
        ended = {(row.name, t.seed) for row in self.rows for t in row.planned if t.state in ENDED}
        return [cell for cell in self._cells(record) if cell not in ended]

    def _cells(self, record: Mapping[str, Any]) -> list[tuple[str, int]]:
        rows = {row.name for row in self.rows}
        return [(name, int(seed)) for name, row in record["rows"].items() if name in rows for seed in row["trials"]]

    def _shrunk(self, planned: Mapping[str, Any]) -> int:
        """Return 1 where more seeds had been planned: to stop before they are there is a look by itself."""
        earlier = [record for record in self._submissions if record is not planned and self._is_of_these(record)]
        return int(any(self._lacking(record) for record in earlier))

    def _post_hoc(self) -> Iterator[tuple[Pair, str]]:
        """Yield comparisons that the runs they are made of have suggested, each with the reason."""
        chosen = self._proposed()
        for row, reference in self.pairs:
            both = [t for line in self.rows if line.name in (row, reference) for t in line.finished]
            by_search = sorted({(t.row, t.seed) for t in both if t.key in chosen})
            if by_search:
                names = ", ".join(f"{name} seed {seed}" for name, seed in by_search)
                text = f"proposed by a search and scored on these runs ({names}): only other seeds can confirm it"
                yield (row, reference), text
            elif text := self._asked_late(row, reference, both):
                yield (row, reference), text

    def _asked_late(self, row: str, reference: str, trials: Collection[TrialRecord]) -> str:
        """Say so where a comparison was asked for only after both rows had been submitted without it and had run."""
        before, since = "", ""
        for record in reversed(self._submissions):
            if not {row, reference} <= record["rows"].keys():
                continue
            if (row, reference) in _asked(record):
                since = record["submitted_at"]
                break
            before = before or str(record["baseline"])
        ended = {t.row for t in trials if not since or _before(t.result.get("finished_at"), since)}
        if not before or not {row, reference} <= ended:
            return ""
        return f"compared with {reference} only after these runs had ended (the baseline was {before} when they began)"

    def _other_margin(self) -> str:
        """Say so where the margin was chosen after runs had ended."""
        margins = [record["equal_within"] for record in reversed(self._submissions) if "equal_within" in record]
        now = self.results.equal_within
        if now is None or not margins or margins[0] == now:
            return ""
        since = next(
            (r["submitted_at"] for r in reversed(self._submissions) if r.get("equal_within") == now), "9999-12-31"
        )
        if not any(_before(trial.result.get("finished_at"), since) for trial in self.finished.values()):
            return ""
        return f"equal_within was {margins[0]} when these runs began: equality within {now:g} is not claimed from them"

    def _proposed(self) -> set[str]:
        """Return which of the finished trials a search of this store proposed."""
        if self.results.home is None:
            return set()
        found = set()
        for journal in self.results.home.glob("studies/*/search.journal"):
            try:
                text = journal.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            found |= {key for key in self.finished if f'"{key}"' in text}
        return found


def _asked(record: Mapping[str, Any]) -> set[Pair]:
    pairs = {(str(a), str(b)) for a, b in record.get("compare") or ()}
    return pairs | {(name, str(record["baseline"])) for name in record["rows"]}


def _before(time: object, limit: str) -> bool:
    """Whether one ISO time lies before another; a time that is not known does."""
    try:
        return datetime.fromisoformat(str(time)) < datetime.fromisoformat(limit)
    except (TypeError, ValueError):
        return True


def _said(look: Mapping[str, Any]) -> str:
    claims = [f"{row} {said} (against {reference})" for row, reference, said in look.get("verdicts") or ()]
    when = str(look.get("at", ""))[:10]
    return f"Look {look['look']} ({when}, seeds {_listed(look.get('seeds') or ())}): {'; '.join(claims) or 'nothing'}."


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) if len(seeds) <= 8 else f"{seeds[0]}, {seeds[1]}, …, {seeds[-1]}"
