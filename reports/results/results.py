"""What is known about a study's trials: the plan joined with what the store (or a tracking server) holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import ConfigError
from far.store.paths import TrialPaths
from far.store.records import read_spec
from orchestrator.study.names import find_name
from reports.results.state import State

if TYPE_CHECKING:
    from far.config import TrialConfig
    from orchestrator.plan.other_frames import Misread
    from reports.results.search import SearchFindings

STATE_OF = {
    "finished": State.FINISHED,
    "done": State.FINISHED,
    "failed": State.FAILED,
    "diverged": State.DIVERGED,
    "partial": State.PARTIAL,
    "running": State.RUNNING,
}
"""States of trials as the store names them; whatever is not here has no result yet."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a row: planned, and with its result once there is one."""

    row: str
    seed: int
    key: str
    state: State
    result: Mapping[str, Any] = field(default_factory=dict, repr=False)
    directory: Path | None = None
    identity: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The scientific identity that was planned (see ``far.config.identity``)."""
    link: str | None = None
    """Address of the trial's run in the tracking UI."""
    changed: str = ""
    """What of the code has changed since, of a stale trial."""
    accepted: str = ""
    """What has changed and was accepted as changing no number, and by whom."""

    def metric(self, name: str) -> float | None:
        """Return a metric of a finished trial (``top1`` and ``top5`` in percent), else None."""
        if self.state is not State.FINISHED:
            return None
        value = (self.result.get("metrics") or {}).get(name)
        return None if value is None else float(value)

    @property
    def flops(self) -> int | None:
        """Multiply-accumulates of one clip through the model that ran."""
        return self.result.get("flops")

    @property
    def params(self) -> int | None:
        """Parameters of the model that ran."""
        return self.result.get("params")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration that ran; empty where it is not known."""
        return (read_spec(TrialPaths(self.directory)).get("config") if self.directory and self.result else None) or {}

    def setting(self, *path: str) -> Any:
        """Return a setting of the resolved configuration, e.g. ``setting("data", "views", "clips")``."""
        node: Any = self.config
        for part in path:
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    @cached_property
    def views(self) -> tuple[int, int, int] | None:
        """Frames a clip, clips and crops at test time."""
        own = self.result.get("views")
        if own:
            return own["frames"], own["clips"], own["crops"]
        clip, views = self.setting("model", "clip"), self.setting("data", "views")
        try:  # of results that do not say it, whose configuration may be anything
            return int(clip[0]), int(views["clips"]), int(views["crops"])
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class RowResults:
    """All trials of one row, in the order of the seeds."""

    name: str
    trials: Sequence[TrialRecord]

    @cached_property
    def finished(self) -> list[TrialRecord]:
        """The trials whose numbers may be averaged."""
        return [trial for trial in self.trials if trial.state is State.FINISHED]

    @property
    def state(self) -> State:
        """Of the row as a whole: the worst that happened, unless some seeds are there to show."""
        if self.finished:
            return State.FINISHED if len(self.finished) == len(self.trials) else State.PARTIAL
        order = (State.STALE, State.INCOMPARABLE, State.DIVERGED, State.FAILED, State.PARTIAL, State.RUNNING)
        states = {trial.state for trial in self.trials}
        return next((state for state in order if state in states), State.MISSING)

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
    rows: Sequence[RowResults]
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

    def without(self, keys: Collection[str]) -> Results:
        """Return the same results with these trials marked as not comparable."""
        rows = [
            RowResults(
                row.name,
                [replace(t, state=State.INCOMPARABLE) if t.key in keys else t for t in row.trials],
            )
            for row in self.rows
        ]
        return replace(self, rows=rows) if keys else self

    @cached_property
    def finished(self) -> list[TrialRecord]:
        """Every finished trial."""
        return [trial for row in self.rows for trial in row.finished]
