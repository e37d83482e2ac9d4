"""Which videos a row's trials answer, whether their results say so or only their predictions do."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from far.store.paths import TrialPaths
from reports.analysis.correctness import row_outcomes
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.tables.ablation import build_table
from tests.reports.conftest import VIDEOS

MakeResults = Callable[..., Results]
ACCURACIES = {"1:1": 0.7, "2:1": 0.6, "1:2": 0.5}


def rows(results: Results) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(RENDERERS["json"]([build_table(results)]))["rows"]
    return found


@pytest.mark.parametrize("unanswered", [(), range(7)])
def test_results_and_predictions_say_the_same(unanswered: range, make_results: MakeResults) -> None:
    """Also where trials answered different videos, so that their names are needed."""
    changes = {("2:1", 1): {"unanswered": unanswered}}
    whole = rows(make_results("head_ratio", ACCURACIES, changes=changes, seeds=3))
    trials = [(row, seed) for row in ACCURACIES for seed in range(3)]
    older = {trial: {**changes.get(trial, {}), "with_answers": False} for trial in trials}
    assert rows(make_results("head_ratio", ACCURACIES, changes=older, seeds=3)) == whole
    mixed = {**changes, ("1:1", 0): {"with_answers": False}}
    assert rows(make_results("head_ratio", ACCURACIES, changes=mixed, seeds=3)) == whole


def test_predictions_are_not_opened_where_results_say_it(make_results: MakeResults) -> None:
    changes = {(row, seed): {"with_predictions": False} for row in ACCURACIES for seed in range(3)}
    results = make_results("head_ratio", ACCURACIES, changes=changes, seeds=3)
    outcomes, problems = row_outcomes(results)
    assert problems == []
    for row in results.rows:
        shares = {seed: 100 * bits.mean() for seed, bits in outcomes[row.name].correct.items()}
        assert shares == pytest.approx(row.by_seed("top1"))
    assert (row_outcomes(results, "top5")[0]["1:1"].correct[0] >= outcomes["1:1"].correct[0]).all()


def test_names_that_cannot_be_read_cost_a_comparison_not_the_table(make_results: MakeResults) -> None:
    changes = {("2:1", 1): {"unanswered": range(7), "with_predictions": False}}
    table = build_table(make_results("head_ratio", ACCURACIES, changes=changes, seeds=3))
    assert [len(row.cells["top1"].values) for row in table.rows] == [3, 3, 3]
    assert table.rows[1].cells["delta_top1"].interval is None
    assert table.rows[2].cells["delta_top1"].interval is not None
    assert any("Problem" in note.text and "predictions.parquet" in note.text for note in table.notes)


def test_names_of_other_videos_are_refused(make_results: MakeResults) -> None:
    results = make_results("head_ratio", ACCURACIES, changes={("2:1", 1): {"unanswered": range(7)}}, seeds=3)
    odd, other = (TrialPaths(results.rows[1].planned[seed].directory) for seed in (1, 2))
    odd.predictions.write_bytes(other.predictions.read_bytes())
    table = build_table(results)
    assert any("other videos than the result" in note.text for note in table.notes)


def test_damaged_answers_are_a_problem_of_one_trial(make_results: MakeResults) -> None:
    changes = {("2:1", 1): {"answers": {"videos": "x", "count": VIDEOS, "top1": "?"}}}
    table = build_table(make_results("head_ratio", ACCURACIES, changes=changes, seeds=3))
    assert any("damaged answers" in note.text for note in table.notes)
    assert len(table.rows[1].cells["delta_top1"].values) == 2
