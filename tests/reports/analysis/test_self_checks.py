"""A table that tests itself: what the placebo and the control show, and when they say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab
from reports.analysis.comparison import asked_pairs, compare_rows
from reports.analysis.self_checks import placebo_difference, placebo_pairs, self_checks
from tests.reports.conftest import MakeResults

STUDY = """
study: checked
rows:
  A: {recipe.lr: 0.1}
  B: {recipe.lr: 0.2}
  C: {recipe.lr: 0.3}
baseline: A
compare: [[C, B]]
placebo: true
control: {recipe.lr: 9.0}
"""
GOOD = {"A": 0.7, "B": 0.7, "C": 0.6, "Placebo": 0.7, "Control": 0.2}


@pytest.fixture
def checked(make_results: MakeResults, tmp_path: Path):
    """Return what a table says of its checks, submitted or not, at these accuracies."""

    def checked(accuracies: dict[str, float], *, seeds: int = 3, submit: bool = True) -> tuple[list[str], object]:
        path = tmp_path / "checked.yaml"
        path.write_text(STUDY)
        results = make_results(path, accuracies, seeds=seeds, submit=submit)
        return self_checks(results, compare_rows(results)), results

    return checked


def test_a_good_table_passes_its_own_checks(checked) -> None:
    (placebo, control), results = checked(GOOD)
    assert placebo.startswith("Placebo (A at seeds 3, 4, 5 against seeds 0, 1, 2): ")
    assert placebo.endswith("no difference found, as it must be")
    assert control.startswith("The control does worse, as it must: −")
    assert asked_pairs(results) == [("B", "A"), ("C", "A"), ("Control", "A"), ("C", "B")]


def test_a_table_that_fails_them_warns(checked) -> None:
    (placebo, control), _ = checked({**GOOD, "Placebo": 0.4, "Control": 0.7})
    assert placebo.startswith("Warning: Placebo")
    assert "a difference between a row and itself" in placebo
    assert control.startswith("Warning: the control was not seen to do worse")


def test_before_the_analysis_that_was_planned_nothing_is_said(checked) -> None:
    said, _ = checked(GOOD, submit=False)
    assert [text.rpartition(": ")[2] for text in said] == ["not looked at yet", "not looked at yet"]


def test_with_four_seeds_the_later_half_is_compared_with_the_first(checked) -> None:
    _, results = checked({name: value for name, value in GOOD.items() if name != "Placebo"}, seeds=4)
    assert placebo_pairs(results) == {2: 0, 3: 1}
    found = placebo_difference(results, 0.05)
    assert found is not None
    values = results.row("A").by_seed("top1")
    assert found.per_seed == pytest.approx({0: values[2] - values[0], 1: values[3] - values[1]})


def test_every_format_says_so(checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    checked(GOOD)
    monkeypatch.chdir(tmp_path)
    for name in ("term", "md", "latex", "html", "json"):
        assert farlab.run(["report", "checked.yaml", "--seeds", "3", "-f", name]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "as it must be" in out
        assert "The control does worse" in out
    rows = json.loads(out)["rows"]
    assert [row["row"] for row in rows] == ["A", "B", "C", "Placebo", "Control"]
