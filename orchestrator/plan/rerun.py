"""Trials that are run again although they are done: chosen by what a person types; what they had is set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from far.errors import ConfigError
from far.store.paths import TrialPaths
from orchestrator.plan.changed_code import CHANGED
from orchestrator.plan.plan import Plan
from orchestrator.study.names import find_name

CHANGED_ONES = "changed"
"""What stands for every trial whose code has changed since."""
SHORTEST = 4
"""Characters of a key that are enough to name it."""
KEPT = ("writer.lock", "cancel")
"""Files of a trial's folder that are no part of what it has come to."""


def run_again(plan: Plan, words: Sequence[str]) -> Plan:
    """Return the plan in which the chosen trials are rerun.

    Args:
        plan: with what is known of its trials' code.
        words: ``changed``, names of rows, or beginnings of keys.

    Raises:
        ConfigError: a word is none of these.
    """
    keys: set[str] = set()
    rows = list(dict.fromkeys(trial.row for trial in plan.trials))
    for word in words:
        row = None if word == CHANGED_ONES else find_name(word, rows, key="--rerun")
        if word == CHANGED_ONES:
            keys |= {key for key, verdict in plan.code.items() if verdict.state == CHANGED}
        elif row is not None:
            keys |= {trial.key for trial in plan.trials if trial.row == row}
        elif found := {t.key for t in plan.trials if len(word) >= SHORTEST and t.key.startswith(word)}:
            keys |= found
        else:
            raise ConfigError(
                f"'{word}' is neither '{CHANGED_ONES}' nor a row nor the beginning of a trial's key",
                key="--rerun",
                choices=[CHANGED_ONES, *rows],
                got=word,
            )
    trials = tuple(replace(trial, again=True) if trial.key in keys else trial for trial in plan.trials)
    return replace(plan, trials=trials)


def set_aside(paths: TrialPaths) -> int:
    """Move all that a trial has come to into a folder of its own within its folder, where it can still be read.

    Result and description go last, so that a kill on the way leaves a trial that is done, or one to be started over;
    the next try moves the rest into the same folder.

    Returns:
        The number of that folder, 0 if there was nothing.
    """
    if not (paths.trial.exists() or paths.result.exists()):
        return 0
    number = _number(paths)
    place = paths.earlier / str(number)
    place.mkdir(parents=True, exist_ok=True)
    last = ("", paths.result.name, paths.trial.name)
    there = [each for each in paths.directory.iterdir() if each != paths.earlier and each.name not in KEPT]
    for each in sorted(there, key=lambda each: last.index(each.name) if each.name in last else 0):
        each.rename(place / each.name)
    return number


def _number(paths: TrialPaths) -> int:
    """Return the number of the next folder: the last one again if a kill left it without a description."""
    numbers = [int(each.name) for each in paths.earlier.glob("[0-9]*") if each.name.isdecimal()]
    last = max(numbers, default=0)
    return last if last and not TrialPaths(paths.earlier / str(last)).trial.exists() else last + 1
