"""Notes about trials: each said once, of whichever seeds it is true."""

from __future__ import annotations

from typing import Any

import pytest

from reports.tables.registry import build_one
from tests.reports.conftest import MakeResults

ROWS = ("1:1", "2:1", "1:2")


def marked(make_results: MakeResults, changes: dict[tuple[str, int], Any], **options: Any) -> list[str]:
    """Return the notes about trials, one without a mark last."""
    table = build_one(make_results(options.pop("study", "head_ratio"), changes=changes, **options))
    notes = [note.text for note in table.notes if note.mark]
    return [*notes, *(note.text for note in table.notes if note.text.startswith("In every trial"))]


def test_what_is_the_same_everywhere_is_one_line(make_results: MakeResults) -> None:
    dead = {(row, seed): {"unanswered": range(9)} for row in ROWS for seed in range(4)}
    (note,) = marked(make_results, dead, seeds=4)
    assert note == "In every trial 9 of 200 videos unanswered, which count as wrong."


def test_seeds_of_a_row_are_named_together(make_results: MakeResults) -> None:
    dead: dict[tuple[str, int], Any] = {("2:1", seed): {"unanswered": range(9)} for seed in range(4)}
    dead |= {("1:2", seed): {"unanswered": range(9 if seed else 3)} for seed in range(4)}
    assert marked(make_results, dead, seeds=4) == [
        "2:1, every seed: 9 of 200 videos unanswered, which count as wrong.",
        "1:2, seed 0: 3 of 200 videos unanswered, which count as wrong; "
        "seeds 1–3: 9 of 200 videos unanswered, which count as wrong.",
    ]


def test_one_failure_of_many_seeds_is_one_reason(make_results: MakeResults) -> None:
    gone = {"state": "failed", "metrics": {}, "error": {"kind": "data", "message": "gone"}}
    failed = {("2:1", seed): gone for seed in range(12)}
    assert marked(make_results, failed, seeds=14) == ["2:1, seeds 0–11: failed (data): gone."]


@pytest.mark.parametrize(("study", "row"), [("ssv2", "MVD ViT-B"), ("k400", "FAR (MVD) ViT-S")])
def test_comparisons_name_what_they_leave_out(study: str, row: str, make_results: MakeResults) -> None:
    changes = {(row, 1): {"state": "diverged"}}
    notes = marked(make_results, changes, study=study, seeds=2)
    assert f"{row}, seed 1: diverged." in notes
    assert len({note[:20] for note in notes}) == len(notes)
