"""What stands under a table: how to read it, what is missing and why, what must not be compared."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence

from far.data.sources.open import DEMO
from reports.analysis.comparison import Comparison
from reports.analysis.self_checks import self_checks
from reports.paper import PaperRow, PaperTable
from reports.paper.costs import cost_of_table
from reports.paper.protocol import shown
from reports.results.changed_code import code_notes
from reports.results.comparability import START, Finding
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord, name_seeds
from reports.shown import command
from reports.tables import differences
from reports.tables.model import Note


def scale_warning(results: Results) -> str:
    """Return what must be read before numbers of another setting than the paper's, with the reason."""
    if results.comparable:
        return ""
    if results.deviations:
        return (
            f"Profile {results.profile}, but not the paper's setting: {shown(results.deviations)}. "
            "These numbers are not comparable with the paper's."
        )
    if any(config.data.source != DEMO for config in results.configs.values()):
        return f"Profile {results.profile}, not the paper's: these numbers are not comparable with the paper's."
    return (
        f"Profile {results.profile}: a small model on small data. These numbers show that the pipeline works; "
        "they are not comparable with the paper's."
    )


def override_notes(results: Results) -> list[Note]:
    """Return what the command line changed, so that a table never stands without it."""
    return [Note(f"Overrides on the command line: {' '.join(results.overrides)}.")] if results.overrides else []


def own_notes(results: Results, printed: PaperTable | None, about: Mapping[str, PaperRow]) -> list[Note]:
    """Return what tells this study from the paper's table whose number it bears, and from a shipped one."""
    notes = [Note(text) for text in results.remarks]
    if printed is None:
        return notes
    if not about:
        known = ", ".join(row.name for row in printed.rows)
        notes.append(Note(f"The study says 'table: {printed.number}', but none of its rows is one of the paper's "
                          f"({known}), so that the paper's caption and numbers are left out."))  # fmt: skip
    return notes + doubt_notes(results, printed)


def doubt_notes(results: Results, printed: PaperTable) -> list[Note]:
    """Return which rows are left without the paper's numbers because another one is spelled like the paper's too."""
    found = printed.in_doubt([row.name for row in results.rows])
    named = {theirs: " and ".join(f"'{name}'" for name in own) for theirs, own in found.items()}
    return [
        Note(f"Rows {own} are spelled like the paper's '{theirs}', none exactly: none has its numbers.")
        for theirs, own in named.items()
    ]


def note_letters() -> Iterator[str]:
    """Yield the letters of a table's notes."""
    yield from string.ascii_lowercase
    yield from (first + second for first in string.ascii_lowercase for second in string.ascii_lowercase)


def row_notes(results: Results, letters: Iterator[str]) -> tuple[dict[str, tuple[str, ...]], list[Note]]:
    """Return the letters of each row's notes, and the notes: every gap, every odd trial, with its reason.

    Args:
        results: of the study.
        letters: that no note of the table bears yet.
    """
    marks: dict[str, tuple[str, ...]] = {}
    notes: list[Note] = []
    starts = {key for finding in results.findings if finding.what == START for key in finding.keys}
    everywhere = {_unanswered(trial) for trial in results.finished}
    common = everywhere.pop() if len(everywhere) == 1 and len(results.finished) > 1 else ""
    for row in results.rows:
        if row.state is State.MISSING:
            continue
        by_seed = [(trial.seed, _why(trial)) for trial in row.planned if trial.state is not State.FINISHED]
        by_seed += [(trial.seed, _unanswered(trial)) for trial in row.finished if not common]
        by_seed += [(trial.seed, _skipped(trial)) for trial in row.finished]
        reasons = _said_once(by_seed, len(row.planned))
        if any(trial.key in starts for trial in row.finished):
            reasons.append("starts from other tensors of its initial weights than the rest (below)")
        if reasons:
            letter = next(letters)
            marks[row.name] = (letter,)
            notes.append(Note(f"{row.name}, {'; '.join(reasons)}.", letter))
    if common:
        notes.append(Note(f"In every trial {common}."))
    return marks, notes


def _said_once(by_seed: Iterable[tuple[int, str]], planned: int) -> list[str]:
    """Say what is the same of several seeds once, of so many that are planned."""
    seeds: dict[str, list[int]] = {}
    for seed, reason in by_seed:
        seeds.setdefault(reason, []).append(seed)
    return [f"{_seeds(own, planned)}: {reason}" for reason, own in seeds.items() if reason]


def _seeds(seeds: Sequence[int], planned: int) -> str:
    return "every seed" if len(seeds) == planned > 1 else name_seeds(seeds)


def _why(trial: TrialRecord) -> str:
    """What became of a trial whose number is not in the average."""
    if trial.why:
        return f"{trial.state.value}, {trial.why}"
    error = trial.result.get("error") or {}
    message = str(error.get("message", "")).split("\n")[0][:160]
    return f"{trial.state.value} ({error.get('kind', 'error')}): {message}" if message else trial.state.value


def _unanswered(trial: TrialRecord) -> str:
    done, expected = trial.result.get("evaluated"), trial.result.get("expected")
    if done is None or expected is None or done >= expected:
        return ""
    return f"{expected - done} of {expected} videos unanswered, which count as wrong"


def _skipped(trial: TrialRecord) -> str:
    """Optimiser steps that changed nothing; a few are usual in fp16, whose loss is scaled up until a step overflows."""
    skipped, steps = trial.result.get("skipped_steps"), trial.result.get("steps")
    return f"{skipped} of {steps} optimiser steps skipped, their gradients not finite" if skipped and steps else ""


def table_notes(
    results: Results,
    printed: PaperTable | None,
    about: Mapping[str, PaperRow],
    comparison: Comparison | None,
) -> list[Note]:
    """Return the notes that concern the table as a whole."""
    notes = override_notes(results) + own_notes(results, printed, about)
    notes.append(Note("Mean ± sample standard deviation over n seeds; a single seed has no ±."))
    number = printed.number if printed and about else None
    notes += comparison_notes(comparison, number, is_paper_setting=results.comparable)
    notes += [Note(f"{text}.") for text in code_notes(results)]
    notes += [Note(f"{text}.") for text in self_checks(results, comparison)]
    notes += finding_notes(results.findings)
    if printed and about:
        text = f"Columns marked 'paper' are the paper's own numbers ({printed.facts.setting})."
        notes.append(Note(text, about=("paper_",)))
    if printed and about and results.comparable:
        notes += [Note(text) for text in cost_of_table(printed.number).notes]
    return notes + problem_notes(results)


def finding_notes(found: Sequence[Finding]) -> list[Note]:
    """Return in what trials differ that should be the same in all."""
    return [Note(f"{'Not comparable' if f.fatal else 'Careful'}: {f.text}.") for f in found]


def comparison_notes(
    comparison: Comparison | None, number: int | None = None, *, is_paper_setting: bool = False
) -> list[Note]:
    """Return what is said of a table's differences, and which verdicts the paper's own seeds could have reached.

    Args:
        comparison: of the table; None: nothing was compared.
        number: of the paper's table.
        is_paper_setting: whether what ran is the paper's own setting, so that its margin is meant for the paper too.
    """
    if comparison is None:
        return []
    found = differences.notes(comparison) + [Note(f"Problem: {text}") for text in comparison.problems]
    if number is not None and comparison.differences:
        from reports.statistics.published import within_reach

        found += [
            Note(within_reach(number, comparison.margin if is_paper_setting else None), about=differences.COMPARED)
        ]
    return found


def problem_notes(results: Results) -> list[Note]:
    """What stood in the way of reading, and what to do where nothing has run."""
    notes = [Note(f"Problem: {text}") for text in results.problems]
    if not any(trial.state is not State.MISSING for row in results.rows for trial in row.planned):
        notes.append(Note(f"Nothing has run yet: {command(results)}"))
    return notes
