"""What is known about a study's trials, and which of their numbers count.

Whatever reads numbers (tables, figures, power, sums) takes them from ``finished`` and ``by_seed``. In neither stands a
trial that failed, diverged, was stopped early, is stale, contradicts itself or must not be compared with the others;
what became of such a trial is asked for by name, in ``planned``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from orchestrator.study.names import find_name
from reports.results.comparability import Finding, find_incomparable
from reports.results.state import LEFT_OUT, State
from reports.results.trials import TrialRecord
from reports.results.validity import contradiction

if TYPE_CHECKING:
    from far.config import TrialConfig
    from orchestrator.plan.other_frames import Misread
    from reports.results.search import SearchFindings


@dataclass(frozen=True)
class RowResults:
    """All trials of one row, in the order of the seeds."""

    name: str
    planned: Sequence[TrialRecord]
    """Every trial, whatever became of it; only ``finished`` has numbers to average."""

    @cached_property
    def finished(self) -> list[TrialRecord]:
        """The trials whose numbers may be averaged."""
        return [trial for trial in self.planned if trial.state is State.FINISHED]

    @property
    def on_their_way(self) -> list[TrialRecord]:
        """The trials whose learning curves may be shown: those that count, and those that still run."""
        return [trial for trial in self.planned if trial.state in (State.FINISHED, State.RUNNING)]

    @property
    def left_out(self) -> list[TrialRecord]:
        """The trials that have ended and whose numbers stand nowhere."""
        return [trial for trial in self.planned if trial.state in LEFT_OUT]

    @property
    def state(self) -> State:
        """Of the row as a whole: the worst that happened, unless some seeds are there to show."""
        if self.finished:
            return State.FINISHED if len(self.finished) == len(self.planned) else State.PARTIAL
        states = {trial.state for trial in self.planned}
        return next((state for state in (*LEFT_OUT, State.RUNNING) if state in states), State.MISSING)

    def by_seed(self, metric: str) -> Mapping[int, float]:
        """Return a metric by seed, of the finished trials that have it."""
        if metric not in self._by_seed:
            values = {trial.seed: trial.metric(metric) for trial in self.finished}
            self._by_seed[metric] = {seed: value for seed, value in values.items() if value is not None}
        return self._by_seed[metric]

    @cached_property
    def _by_seed(self) -> dict[str, dict[int, float]]:
        return {}


@dataclass(frozen=True)
class Results:
    """A study's rows, each with its trials."""

    study: str
    title: str
    profile: str
    collected: Mapping[str, Sequence[TrialRecord]] = field(repr=False)
    """By row, its trials as the store or a tracking server has them: nothing is left out yet, see ``rows``."""
    table: int | None = None
    """Number of the paper's table that the study reproduces."""
    row_header: str = ""
    """Above the names of rows; empty where the study does not say."""
    baseline: str | None = None
    compare: Sequence[tuple[str, str]] = ()
    """Pairs of rows that are compared: the first against the second."""
    baseline_asked: bool = True
    """Whether every row is compared with the baseline too: not where a study names pairs and no baseline."""
    equal_within: float | None = None
    """Percentage points within which two rows count as equal; None: nobody said."""
    placebo: str | None = None
    """The row that is the baseline with other seeds."""
    control: str | None = None
    """The row that must do worse than the baseline."""
    quoted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows of other works that the study quotes (``orchestrator.study.quoted``), for tables alone."""
    components: Sequence[str] = ()
    """What a factorial crosses."""
    present: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By row of the factorial, the components that it has."""
    comparable: bool = False
    """Whether what ran is the setting in which the paper measured (``reports.paper.protocol``)."""
    deviations: Sequence[str] = ()
    """In what it differs from that setting, where the profile itself is the paper's."""
    path: Path | None = None
    store: Path | None = None
    home: Path | None = None
    """The store that the study was submitted to, and that counts the looks at it, wherever the results come from."""
    recorded_claims: bool = False
    """Whether only claims that were recorded there before are made, so that nothing is written."""
    overrides: Sequence[str] = ()
    varied: frozenset[str] = frozenset()
    """Dotted settings that the rows themselves set, so that a difference in them is meant."""
    configs: Mapping[str, TrialConfig] = field(default_factory=dict, repr=False)
    """The planned configuration of each row, whose seed is not meant."""
    problems: Sequence[str] = ()
    """What stood in the way of reading, e.g. a data set that is not there."""
    remarks: Sequence[str] = ()
    """What a reader must know of the study itself, e.g. that it stands before a shipped one."""
    tracking_uri: str | None = None
    other_frames: Mapping[str, Misread] = field(default_factory=dict, repr=False)
    """Finished trials that saw other frames than the same trial would now, by key."""
    submitted: bool = True
    """Whether a sweep was given this study: else nothing of it is on its way."""
    search: SearchFindings | None = None
    """What the study's search has found, if it has one."""

    def row(self, name: str) -> RowResults:
        """Return a row by its name, or by a spelling of it that only one row has.

        Raises:
            ConfigError: the study has no such row, or several.
        """
        by_name = {row.name: row for row in self.rows}
        found = find_name(name, by_name)
        if found is None:
            raise ConfigError(f"the study {self.study} has no row '{name}'", choices=by_name, got=name)
        return by_name[found]

    @cached_property
    def rows(self) -> Sequence[RowResults]:
        """The study's rows, in which what must not be averaged is marked as such."""
        odd = {key: finding for finding in self.findings if finding.fatal for key in finding.keys}
        return [
            RowResults(name, [_incomparable(trial, odd.get(trial.key)) for trial in trials])
            for name, trials in self._sound.items()
        ]

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """In what trials differ that should be the same in all."""
        return find_incomparable(self._sound, self.varied, self.other_frames)

    @cached_property
    def _sound(self) -> Mapping[str, Sequence[TrialRecord]]:
        return {name: [_checked(trial) for trial in trials] for name, trials in self.collected.items()}

    @cached_property
    def finished(self) -> list[TrialRecord]:
        """Every trial whose numbers may be averaged."""
        return [trial for row in self.rows for trial in row.finished]


def _checked(trial: TrialRecord) -> TrialRecord:
    why = contradiction(trial.result) if trial.state is State.FINISHED else ""
    return replace(trial, state=State.INVALID, why=why) if why else trial


def _incomparable(trial: TrialRecord, finding: Finding | None) -> TrialRecord:
    return replace(trial, state=State.INCOMPARABLE, why=f"other {finding.what}") if finding else trial
