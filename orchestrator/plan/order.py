"""In which order trials are started: what is most useful first, and next to each other what can share its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from far.data.sharing.groups import frames_group

if TYPE_CHECKING:
    from orchestrator.executors.base import Job
    from orchestrator.plan.plan import Plan, PlannedTrial

Together = Callable[["Job"], int]
"""Returns how many trials like a job may run at the same time on one machine."""


def priority_order(plan: Plan) -> list[PlannedTrial]:
    """Return what is left to run, most useful first: a whole table with one seed before any second seed,
    and the baselines, which every comparison needs, before the other rows."""
    rank = _ranks(plan)
    return sorted(plan.missing(), key=lambda trial: rank[trial.key])


def side_by_side(plan: Plan, trials: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    """Return trials with those of the same data and seed next to each other, and among these those of a frames group.

    All rows with one seed still come before any second seed. Otherwise the order stays.

    Args:
        plan: that they belong to.
        trials: in the plan's priority order.
    """
    rank = _ranks(plan)
    places = [(rank[trial.key][0], *_neighbourhood(trial)) for trial in trials]
    first = {place[:length]: n for n, place in reversed(list(enumerate(places))) for length in (2, 3)}
    order = sorted(range(len(trials)), key=lambda n: (places[n][0], first[places[n][:2]], first[places[n]]))
    return [trials[n] for n in order]


def with_companions(
    trials: Sequence[PlannedTrial], jobs: Sequence[Job], together: Together, proposals: int = 0
) -> list[Job]:
    """Return the jobs of trials, with how many others of their frames group may run next to each.

    Args:
        trials: that are to be run.
        jobs: theirs, in the same order.
        together: how many trials like a job may run at the same time on one machine.
        proposals: trials that searches will add, which may be of any group.
    """
    groups = [_neighbourhood(trial)[1] for trial in trials]
    sizes = Counter(groups)
    return [
        replace(job, companions=companions(job, sizes[group] + proposals if _shares(trial) else 1, together))
        for trial, job, group in zip(trials, jobs, groups, strict=True)
    ]


def companions(job: Job, size: int, together: Together) -> int:
    """Return how many other trials of a group of ``size`` may run next to a job."""
    return max(0, min(size, together(job)) - 1)


def _neighbourhood(trial: PlannedTrial) -> tuple[str, str]:
    """Return the trial's data and seed, and its frames group; a trial that shares nothing is alone in its own."""
    if not _shares(trial):
        return trial.key, trial.key
    content = trial.identity["data"]["content"]
    return f"{content} {trial.seed}", frames_group(trial.config, content)


def _shares(trial: PlannedTrial) -> bool:
    return trial.config.data.share != "off"


def _ranks(plan: Plan) -> dict[str, tuple[int, bool]]:
    """Return by key which seed of its row a trial is, the first where it is several, and whether it is no baseline."""
    baselines = {(study.name, study.baseline) for study in plan.studies}
    place = {
        (study.name, row.name, seed): i
        for study in plan.studies
        for row in study.rows
        for i, seed in enumerate(study.seeds_of(row))
    }
    rank: dict[str, tuple[int, bool]] = {}
    for trial in plan.trials:
        own = (place[trial.study, trial.row, trial.seed], (trial.study, trial.row) not in baselines)
        rank[trial.key] = min(rank.get(trial.key, own), own)
    return rank
