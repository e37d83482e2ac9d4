"""Which numbers may not stand beside each other, and why: checked over the trials behind a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from far.weights.load_report import uneven
from reports.results.state import State
from reports.results.trials import TrialRecord, name_trials

if TYPE_CHECKING:
    from orchestrator.plan.other_frames import Misread


@dataclass(frozen=True)
class Finding:
    """Trials that differ from the rest of the table in what should be the same."""

    what: str
    text: str
    keys: frozenset[str]
    fatal: bool
    """Whether their numbers are kept out of averages and comparisons."""


LIBRARIES = {
    "torch": "torch", "deepspeed": "DeepSpeed", "cuda": "CUDA", "cudnn": "cuDNN", "driver": "NVIDIA driver",
    "optuna": "Optuna",
}  # fmt: skip
"""Of what computes a trial's numbers, the key in its ``env`` and its name; decoders have a check of their own."""


def _in_environment(name: str) -> Callable[[TrialRecord], Hashable]:
    return lambda trial: (trial.result.get("env") or {}).get(name)


CHECKS: tuple[tuple[str, str, Callable[[TrialRecord], Hashable], bool], ...] = (
    ("data", "data", lambda t: t.result.get("data_hash"), True),
    ("epochs", "recipe.epochs", lambda t: t.result.get("epochs"), True),
    ("views", "data.views", lambda t: t.views and t.views[1:], True),
    ("frames", "model.clip", lambda t: t.views and t.views[0], True),
    ("precision", "recipe.precision", lambda t: (t.result.get("execution") or {}).get("precision"), False),
    ("device", "", _in_environment("device"), False),
    *((f"{said} version", "", _in_environment(name), False) for name, said in LIBRARIES.items()),
    ("video decoders", "", lambda t: ", ".join(t.result.get("decoders") or ()) or None, False),
    ("code version", "", lambda t: (t.result.get("code") or {}).get("version"), False),
    ("commit", "", lambda t: (t.result.get("code") or {}).get("git"), False),
)
"""What is compared, the setting it follows from, how it is read off a trial, and whether a difference forbids
averaging. A setting that the rows themselves vary is meant to differ."""


START = "initial weights"
"""What a difference in what the rows start from is called."""
ByRow = Mapping[str, Sequence[TrialRecord]]


def find_incomparable(
    planned: ByRow, varied: Collection[str] = (), other_frames: Mapping[str, Misread] | None = None
) -> list[Finding]:
    """Compare every finished trial with the majority of the table.

    Args:
        planned: trials by row.
        varied: dotted settings that the rows themselves set, so that a difference in them is meant.
        other_frames: trials that saw other frames than the same trial would now, by key.
    """
    by_row = {row: [trial for trial in trials if trial.state is State.FINISHED] for row, trials in planned.items()}
    finished = [trial for trials in by_row.values() for trial in trials]
    found = []
    for what, setting, read, fatal in CHECKS:
        if setting and any(key == setting or key.startswith(f"{setting}.") for key in varied):
            continue
        if len({read(trial) for trial in finished} - {None}) < 2:
            continue
        values = {trial.key: read(trial) for trial in finished}
        counts = Counter(value for value in values.values() if value is not None)
        usual = counts.most_common(1)[0][0]
        for value, _ in counts.most_common()[1:]:
            odd = frozenset(key for key, own in values.items() if own == value)
            names = name_trials(trial for trial in finished if trial.key in odd)
            text = f"other {what} ({_show(value)} instead of {_show(usual)}): {names}"
            found.append(Finding(what, text, odd, fatal))
    found += [*_other_frames(finished, other_frames or {}), *_unscaled(finished)]
    return [*found, *_starts(by_row), *_code(finished), *_same(planned)]


def _unscaled(finished: Sequence[TrialRecord]) -> list[Finding]:
    """Trials of versions that ran fp16 at ZeRO 0, where DeepSpeed never scales the loss: their learning stopped."""
    odd = []
    for trial in finished:
        execution = trial.result.get("execution") or {}
        if execution.get("precision") == "fp16":
            stage = execution["zero_stage"] if "zero_stage" in execution else trial.setting("recipe", "zero_stage")
            odd += [trial] if stage == 0 else []
    if not odd:
        return []
    text = "fp16 whose loss was not scaled, so that learning stopped after some thousand steps; train again: "
    text += name_trials(odd)
    return [Finding("loss scale", text, frozenset(trial.key for trial in odd), fatal=len(odd) < len(finished))]


def _other_frames(finished: Sequence[TrialRecord], misread: Mapping[str, Misread]) -> list[Finding]:
    """Trials whose videos an earlier version misread: kept apart from others, unless somebody has accepted them."""
    odd = {trial.key: misread[trial.key] for trial in finished if trial.key in misread}
    is_mixed = any(trial.key not in odd for trial in finished)
    found = []
    for one in dict.fromkeys(odd.values()):
        keys = frozenset(key for key, own in odd.items() if own == one)
        names = name_trials(trial for trial in finished if trial.key in keys)
        accepted = f"; accepted {one.accepted}" if one.accepted else ""
        text = f"other frames ({one}, misread by the version that read them): {names}{accepted}"
        found.append(Finding("other frames", text, keys, fatal=is_mixed and not one.accepted))
    return found


def _starts(by_row: ByRow) -> list[Finding]:
    """Rows of which some took from their initial weights what others began at random: a trained head, above all."""
    starts = {row: finished[0].result.get("init") or {} for row, finished in by_row.items() if finished}
    found = []
    for each in uneven(starts):
        odd = min((each.loaded, each.fresh), key=len)  # the fewer rows are the odd ones
        keys = frozenset(trial.key for row in odd for trial in by_row[row])
        found.append(Finding(START, f"rows start differently: {each}", keys, fatal=False))
    return found


def _code(finished: Sequence[TrialRecord]) -> list[Finding]:
    """Trials whose attempts ran different commits, or code that no commit holds."""
    found, dirty = [], {}
    mixed: dict[str, list[TrialRecord]] = {}
    usual = finished[0].result.get("code") if finished else None
    for trial in finished:
        codes = [code for code in (*(trial.result.get("earlier_code") or ()), trial.result.get("code")) if code]
        if not (usual or {}).get("dirty") and all(code == usual for code in codes):
            continue
        commits = list(dict.fromkeys(_show(code["git"]) for code in codes if code.get("git")))
        if len(commits) > 1:
            mixed.setdefault(" → ".join(commits), []).append(trial)
        if any(code.get("dirty") for code in codes):
            dirty[trial.key] = trial
    if mixed:
        said = ", ".join(f"{name_trials(trials)} ({commits})" for commits, trials in mixed.items())
        keys = frozenset(trial.key for trials in mixed.values() for trial in trials)
        text = f"begun under one commit and finished under another: {said}"
        found.append(Finding("commits", text, keys, fatal=False))
    if dirty:
        text = f"{len(dirty)} of {len(finished)} trials ran with uncommitted changes in the code"
        found.append(Finding("code", text, frozenset(dirty), fatal=False))
    return found


def _same(planned: ByRow) -> list[Finding]:
    """Rows that share every trial: their numbers are equal whatever the model."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for row, trials in planned.items():
        rows.setdefault(tuple(trial.key for trial in trials), []).append(f"'{row}'")
    return [
        Finding(
            "rows",
            f"rows {' and '.join(names)} are the same trials, so that Δ = 0 between them is no finding: what tells "
            "them apart changes nothing",
            frozenset(keys),
            fatal=False,
        )
        for keys, names in rows.items()
        if keys and len(names) > 1
    ]


def _show(value: Hashable) -> str:
    if isinstance(value, tuple):
        return " × ".join(str(part) for part in value)
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{13,}", text) else text  # of a hash, enough to tell it apart
