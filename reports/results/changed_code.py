"""Which of a study's numbers other code made than is here: they stand in no mean, and are named."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from far.store.paths import TrialPaths
from far.store.records import read_spec
from orchestrator.plan.changed_code import CHANGED, UNKNOWN, Judge, remedy
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord, name_trials
from reports.shown import command

COUNTED = (State.FINISHED, State.DIVERGED)
"""States that a change of the code puts in doubt."""


def with_stale(results: Results, only: Collection[str] | None = None) -> Results:
    """Return the results in which trials of other code than is here, and that nobody has accepted, are stale.

    Args:
        results: as the store or a tracking server has them.
        only: keys of the trials that may be; default: all.
    """
    if results.home is None:
        return results
    judge = Judge(results.home)
    by_row: dict[str, list[TrialRecord]] = {}
    for row, trials in results.collected.items():
        config, by_row[row] = results.configs.get(row), []
        for trial in trials:
            found = trial
            if config is not None and trial.state in COUNTED and (only is None or trial.key in only):
                verdict = judge.verdict(config, trial.result.get("sources"), partial(_sources, trial))
                if verdict.state == CHANGED:
                    found = replace(trial, state=State.STALE, why=verdict.text)
                elif verdict.accepted:
                    found = replace(trial, accepted=verdict.accepted)
            by_row[row].append(found)
    return replace(results, collected=by_row)


def code_notes(results: Results) -> list[str]:
    """Return what a reader must know of the code behind a study's numbers."""
    stale: dict[str, list[TrialRecord]] = {}
    for trial in (trial for row in results.rows for trial in row.left_out):
        if trial.state is State.STALE:
            stale.setdefault(trial.why, []).append(trial)
    run = command(results)
    notes = [
        f"Stale, and left out of every number: {name_trials(trials)}: {text}; {remedy(run)}"
        for text, trials in stale.items()
    ]
    accepted: dict[str, int] = {}
    for trial in {trial.key: trial for trial in results.finished if trial.accepted}.values():
        accepted[trial.accepted] = accepted.get(trial.accepted, 0) + 1
    notes += [f"{count} of {len(results.finished)} trials ran before {text}" for text, count in accepted.items()]
    finished = {trial.key: trial for trial in results.finished}
    unknown = sum(not trial.result.get("sources") for trial in finished.values())
    if unknown:
        notes.append(
            f"{UNKNOWN.capitalize()} of {unknown} of {len(finished)} trials: the version that ran them kept none"
        )
    return notes


def _sources(trial: TrialRecord) -> Any:
    return read_spec(TrialPaths(trial.directory or Path())).get("sources")
