"""In what two trials differ: settings, code, environment, data, metrics, and the videos that one of them answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from far.config.differences import Difference, differences
from far.config.identity import is_counted, spelled_out
from far.errors import DataError
from far.source import changed_parts
from far.store.attempts import sources_of
from orchestrator.store.record import said_code
from reports.results.state import State
from reports.results.trials import TrialRecord

if TYPE_CHECKING:
    from orchestrator.monitor.trial import TrialFacts

CONTENT = {"data.content": ("data.source", "data.demo."), "init.content": ("init.weights",)}
"""What an identity says of files, and the settings that name them."""


@dataclass(frozen=True)
class Answers:
    """How two trials answer the same videos.

    Attributes:
        both, first, second, neither: videos that both, only the first, only the second, and neither answers.
        p: exact two-sided p of McNemar's test.
        only_first, only_second: their ids.
    """

    both: int
    first: int
    second: int
    neither: int
    p: float
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


@dataclass(frozen=True)
class TrialDifference:
    """What tells two trials apart.

    Attributes:
        settings: that decide the numbers.
        idle: settings that do not.
        content: digests of data and initial weights.
        source: parts of the source that decide the numbers (``far.source``); None: of one it is not known.
        code: commit, else version, of each.
        environment: versions and device.
        metrics: of the test, and costs; equal ones too.
        answers: by video; None where one has not finished.
        problems: why something could not be compared.
    """

    settings: tuple[Difference, ...]
    idle: tuple[Difference, ...]
    content: tuple[Difference, ...]
    source: tuple[str, ...] | None
    code: tuple[str, str]
    environment: tuple[Difference, ...]
    metrics: tuple[Difference, ...]
    answers: Answers | None
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def compare_trials(first: TrialFacts, second: TrialFacts) -> TrialDifference:
    """Return what tells two trials apart."""
    identities = [spelled_out(dict(each.spec.get("identity") or {})) for each in (first, second)]
    deciding = {each.key: each for each in differences(*identities)}
    named = {each.key: each for each in differences(first.config, second.config)}
    unknown = [each for each in (first, second) if not each.spec.get("identity")]
    if unknown:  # never started, or damaged: what is known of it is what its study asks for
        deciding = {key: each for key, each in named.items() if is_counted(key)}
    contents = [key for key in CONTENT if key in deciding]
    files = tuple(name for key in contents for name in CONTENT[key])
    settings = {
        **{key: named.get(key, each) for key, each in deciding.items() if key not in CONTENT},
        **{key: each for key, each in named.items() if key.startswith(files)},
    }
    answers, problems = _answers(first, second)
    return TrialDifference(
        tuple(settings.values()),
        tuple(each for key, each in named.items() if key not in settings),
        tuple(deciding[key] for key in contents),
        _source(first, second),
        (_code(first), _code(second)),
        tuple(differences(_part(first, "env"), _part(second, "env"))),
        _metrics(first, second),
        answers,
        (*(f"trial {each.key}: {each.problem}" for each in (first, second) if each.problem), *problems),
    )


def _part(trial: TrialFacts, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (trial.result or {}).get(name) or {}  # type: ignore[assignment]
    return found


def _code(trial: TrialFacts) -> str:
    attempts = trial.spec.get("attempts") or [{}]
    code = _part(trial, "code") or attempts[-1].get("code")
    return said_code(code) if code else "not known"


def _source(first: TrialFacts, second: TrialFacts) -> tuple[str, ...] | None:
    parts = [_parts(each) for each in (first, second)]
    if parts[0] is None or parts[1] is None:
        return None
    return tuple(changed_parts(parts[0], parts[1]))


def _parts(trial: TrialFacts) -> Mapping[str, str] | None:
    """Return the source behind a trial's numbers by part, None if it is not known."""
    digests = sources_of(trial.spec.get("attempts") or ()) or ()
    known = trial.spec.get("sources") or {}
    found = [known[digest].get("parts") or {} for digest in digests if digest in known]
    return {name: value for parts in found for name, value in parts.items()} if found else None


METRICS = ("flops", "params", "seconds", "peak_memory_bytes", "evaluated", "expected")
"""What a result says beside its metrics that can be set against another's."""


def _metrics(first: TrialFacts, second: TrialFacts) -> tuple[Difference, ...]:
    one, other = ({**_part(each, "metrics"), **_costs(each)} for each in (first, second))
    return tuple(Difference(name, one.get(name), other.get(name)) for name in {**one, **other})


def _costs(trial: TrialFacts) -> dict[str, Any]:
    result: Mapping[str, Any] = trial.result or {}
    return {name: result[name] for name in METRICS if result.get(name) is not None}


def _answers(first: TrialFacts, second: TrialFacts) -> tuple[Answers | None, Sequence[str]]:
    from reports.analysis.correctness import outcomes_of
    from reports.statistics.outcomes import on_common_videos
    from reports.statistics.paired import mcnemar

    both_trials = {"first": first, "second": second}
    finished = {name: [_record(name, each)] for name, each in both_trials.items() if each.state == "finished"}
    if len(finished) < 2:
        return None, ()
    outcomes, problems = outcomes_of(finished)
    if not all(outcomes[name].correct for name in ("first", "second")):
        return None, problems
    mine, theirs = on_common_videos(outcomes["first"], outcomes["second"])
    one, other = mine.correct[0], theirs.correct[0]
    videos = max(mine.expected, theirs.expected, len(mine.ids))
    only_first, only_second = one & ~other, other & ~one
    gained, lost, both = int(only_first.sum()), int(only_second.sum()), int((one & other).sum())
    ids: Sequence[str] = ()
    try:
        ids = mine.ids[:]
    except DataError as error:  # the counts stand in the results, names in the predictions alone
        problems = [*problems, f"{error}: its videos have no names"]
    named = [tuple(ids[int(at)] for at in only.nonzero()[0] if ids) for only in (only_first, only_second)]
    p = float(mcnemar(only_first.sum(), only_second.sum()))
    return Answers(both, gained, lost, videos - both - gained - lost, p, *named), problems


def _record(row: str, trial: TrialFacts) -> TrialRecord:
    identity = trial.spec.get("identity") or {}
    return TrialRecord(row, 0, trial.key, State.FINISHED, trial.result or {}, trial.paths.directory, identity, None)
