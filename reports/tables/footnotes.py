"""What stands under a table: how to read it, what is missing and why, what must not be compared."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from reports.analysis.comparison import Comparison
from reports.analysis.self_checks import self_checks
from reports.paper import PaperRow, PaperTable
from reports.paper.costs import cost_of_table
from reports.paper.protocol import shown
from reports.results.changed_code import code_notes
from reports.results.comparability import START, Finding
from reports.results.results import Results, RowResults
from reports.results.state import State
from reports.results.trials import TrialRecord
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


def row_notes(results: Results) -> tuple[dict[str, list[str]], list[Note]]:
    """Return the letters of each row's notes, and the notes: every gap, every odd trial, with its reason."""
    marks: dict[str, list[str]] = {}
    notes: list[Note] = []
    letters = iter([*string.ascii_lowercase, *(f"a{c}" for c in string.ascii_lowercase)])
    starts = {key for finding in results.findings if finding.what == START for key in finding.keys}
    for row in results.rows:
        if row.state is State.MISSING:
            continue
        reasons = [f"seed {t.seed}: {_why(t)}" for t in row.planned if t.state is not State.FINISHED]
        reasons += _unanswered(row) + _skipped(row)
        if any(trial.key in starts for trial in row.finished):
            reasons.append("starts from other tensors of its initial weights than the rest (below)")
        if reasons:
            letter = next(letters, "*")
            marks[row.name] = [letter]
            notes.append(Note(f"{row.name}, {'; '.join(reasons)}.", letter))
    return marks, notes


def _why(trial: TrialRecord) -> str:
    """What became of a trial whose number is not in the average."""
    if trial.why:
        return f"{trial.state.value}, {trial.why}"
    error = trial.result.get("error") or {}
    message = str(error.get("message", "")).split("\n")[0][:160]
    return f"{trial.state.value} ({error.get('kind', 'error')}): {message}" if message else trial.state.value


def _unanswered(row: RowResults) -> list[str]:
    gaps = []
    for trial in row.finished:
        done, expected = trial.result.get("evaluated"), trial.result.get("expected")
        if done is not None and expected is not None and done < expected:
            gaps.append(f"seed {trial.seed}: {expected - done} of {expected} videos unanswered, which count as wrong")
    return gaps


def _skipped(row: RowResults) -> list[str]:
    """Optimiser steps that changed nothing; a few are usual in fp16, whose loss is scaled up until a step overflows."""
    gaps = []
    for trial in row.finished:
        skipped, steps = trial.result.get("skipped_steps"), trial.result.get("steps")
        if skipped and steps:
            gaps.append(f"seed {trial.seed}: {skipped} of {steps} optimiser steps skipped, their gradients not finite")
    return gaps


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
        notes.append(Note(f"Columns marked 'paper' are the paper's own numbers ({printed.facts.setting})."))
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

        found += [Note(within_reach(number, comparison.margin if is_paper_setting else None))]
    return found


def problem_notes(results: Results) -> list[Note]:
    """What stood in the way of reading, and what to do where nothing has run."""
    notes = [Note(f"Problem: {text}") for text in results.problems]
    if not any(trial.state is not State.MISSING for row in results.rows for trial in row.planned):
        notes.append(Note(f"Nothing has run yet: {command(results)}"))
    return notes
