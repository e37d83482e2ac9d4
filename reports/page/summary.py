"""What a page opens with: what each study has found, what is missing of it, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord
from reports.tables.model import Cell, Row, Table
from reports.text import number

MOST_NAMED = 6
"""Rows or trials that a sentence names at most."""
GRAVE = ("Warning", "Problem", "Not comparable")
"""What notes begin with that a summary repeats."""
RAN = {State.FINISHED, State.INCOMPARABLE, State.STALE, State.INVALID}
"""States of trials that have finished, whether or not a table averages them."""


@dataclass(frozen=True)
class Statement:
    """One sentence of a summary; ``kind`` is the word that it opens with, ``style`` the class of its colour."""

    kind: str
    text: str
    style: str = ""


@dataclass(frozen=True)
class Summary:
    """What one study has found.

    Attributes:
        title: of its first table.
        reference: of that table, for a link.
        facts: rows, trials and cost, on one line.
        statements: what is found, what is not decided, what is missing.
    """

    title: str
    reference: str
    facts: str
    statements: Sequence[Statement]


def summarise(table: Table, results: Results) -> Summary:
    """Return what a study has found.

    Args:
        table: with the study's rows.
        results: behind it, without what the table leaves out.
    """
    trials = list(distinct([results]).values())
    counts = _counted(trials)
    cost = cost_text(trials)
    facts = [f"{_n(len(results.rows), 'row')}, {counts}", *([cost] if cost else [])]
    found = [*_level(table), *_verdicts(table), *_gaps(results), *_warnings(table)]
    return Summary(table.title, table.reference, "; ".join(facts), found)


def distinct(found: Iterable[Results]) -> Mapping[str, TrialRecord]:
    """Return every trial once, by key, however many rows and studies share it; where one counts, as it is there."""
    trials: dict[str, TrialRecord] = {}
    for trial in (trial for results in found for row in results.rows for trial in row.planned):
        if trial.key not in trials or trial.state is State.FINISHED:
            trials[trial.key] = trial
    return trials


def has_run(trial: TrialRecord) -> bool:
    """Whether a trial counts as finished, as ``farlab status`` counts, even if no average takes it."""
    return trial.state in RAN


def states_but_finished(trials: Iterable[TrialRecord], *, run: bool) -> dict[str, int]:
    """Return how many trials there are by state, of those that have run and stand in no average, or of the others."""
    odd = (trial for trial in trials if trial.state is not State.FINISHED and has_run(trial) == run)
    return dict(Counter(trial.state.value for trial in odd).most_common())


def cost_text(trials: Iterable[TrialRecord]) -> str:
    """Return the GPU-hours and CPU-hours of the trials that count; empty where none does."""
    hours = {"GPU-hours": 0.0, "CPU-hours": 0.0}
    for trial in (trial for trial in trials if trial.state is State.FINISHED):
        unit, spent = cost(trial)
        hours[unit] += spent
    return " and ".join(f"{_hours(value)} {unit}" for unit, value in hours.items() if value)


def cost(trial: TrialRecord) -> tuple[str, float]:
    """Return the unit of a trial's cost and how much of it the trial took: device-hours, on a CPU core-hours."""
    result = trial.result
    seconds = float(result.get("seconds") or 0.0)
    processes = int((result.get("execution") or {}).get("world_size") or 1)
    if (result.get("env") or {}).get("cuda"):
        return "GPU-hours", seconds * processes / 3600
    return "CPU-hours", seconds * processes * int(trial.setting("run", "cpus") or 1) / 3600


def _counted(trials: Sequence[TrialRecord]) -> str:
    done = sum(map(has_run, trials))
    return f"{_n(len(trials), 'trial')}, all finished" if done == len(trials) else f"{done} of {len(trials)} trials"


def _n(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _hours(value: float) -> str:
    return number(value, 0) if value >= 100 else number(value, 1) if value >= 1 else f"{value:.2g}"


def _level(table: Table) -> list[Statement]:
    """Say which rows have the highest and the lowest accuracy."""
    cells = {row.name: row.cells["top1"] for row in table.rows if "top1" in row.cells}
    known = {name: cell for name, cell in cells.items() if isinstance(cell.value, float) and cell.values}
    if not known:
        return []
    ends = sorted(known, key=lambda name: -float(known[name].value or 0.0))
    texts = [f"{name} {_accuracy(known[name])}" for name in (ends[0], ends[-1])]
    return [Statement("Top-1", texts[0] if len(known) == 1 else f"highest {texts[0]}; lowest {texts[1]}")]


def _accuracy(cell: Cell) -> str:
    spread = "" if cell.std is None else f" ± {number(cell.std, cell.decimals)}"
    return f"{number(float(cell.value or 0.0), cell.decimals)}{spread} %"


def _verdicts(table: Table) -> list[Statement]:
    """Say each verdict in one sentence, with the rows of which it is reached."""
    found: dict[str, dict[str, list[str]]] = {}
    reasons: dict[str, None] = {}
    margin: float | None = None
    for row, delta in compared(table):
        verdict = delta["verdict"]
        if verdict is None:
            reasons.setdefault(delta["why_no_verdict"])
            continue
        margin = delta["equal_within"]
        found.setdefault(verdict, {}).setdefault(delta["baseline"], []).append(f"{row.name} ({_points(delta)})")
    said = []
    for verdict, kind, word in (("different", "Different", "from"), ("equal", "Equal", "of"),
                                ("undecided", "Undecided", "against")):  # fmt: skip
        if verdict in found:
            texts = [f"{word} {base}: {_some(rows)}" for base, rows in found[verdict].items()]
            within = f"within {margin:g} points " if verdict == "equal" else ""
            said.append(Statement(kind, f"{within}{'; '.join(texts)}", verdict))
    if reasons:
        said.append(Statement("No claim", "; ".join(reasons), "undecided"))
    return said


def compared(table: Table) -> list[tuple[Row, Mapping[str, Any]]]:
    """Return the comparisons of a table in their form for machines, each with its row."""
    pairs = []
    for row in table.rows:
        deltas: Any = row.data.get("delta")
        others: Any = row.data.get("pairs") or ()
        pairs += [(row, each) for each in (deltas.get("top1") if deltas else None, *others) if each]
    return pairs


def _points(delta: Mapping[str, Any]) -> str:
    text = number(delta["mean"], 1, signed=True)
    if delta["interval"]:
        text += f" [{', '.join(number(end, 1, signed=True) for end in delta['interval'])}]"
    return f"{text}; {seeds}" if (seeds := seeds_needed(delta)) else text


def seeds_needed(delta: Mapping[str, Any]) -> str:
    """Return how many seeds would decide a comparison, as far as those there tell; empty where nothing is asked."""
    if delta["seeds_needed"] is None:
        return ""
    least, most = delta["seeds_needed"]
    if least is None:
        return "out of reach"
    return f"{least} seeds or more" if most is None else f"{least}–{most} seeds"


def _gaps(results: Results) -> list[Statement]:
    """Say which trials no average has, and in which state they are."""
    by_state: dict[State, list[str]] = {}
    for row in results.rows:
        states: dict[State, list[int]] = {}
        for trial in row.planned:
            if trial.state is not State.FINISHED:
                states.setdefault(trial.state, []).append(trial.seed)
        for state, seeds in states.items():
            whole = len(seeds) == len(row.planned)
            what = "all seeds" if whole else f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
            by_state.setdefault(state, []).append(f"{row.name} ({what})")
    return [
        Statement(state.value.capitalize(), _some(rows), state.value.replace(" ", "-"))
        for state, rows in by_state.items()
    ]


def _warnings(table: Table) -> list[Statement]:
    """Repeat what a reader must not miss among the notes under the table."""
    parts = (note.text.partition(": ") for note in table.notes)
    return [Statement(kind, text.rstrip("."), "undecided") for kind, _, text in parts if kind in GRAVE]


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
