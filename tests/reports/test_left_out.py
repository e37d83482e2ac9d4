"""What a table leaves out is left out of every figure, format and sum, and is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.store import correctness
from far.store.atomic import write_json
from reports.commands.power import answer, measured
from reports.figures import FIGURES, Options, drawn
from reports.figures.curves import history
from reports.figures.order import FILE, ORDERS
from reports.page import build as page
from reports.page.summary import cost_text, distinct, has_run, states_but_finished
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import STATE_OF, TrialRecord
from reports.results.validity import contradiction
from reports.tables.model import Table
from reports.tables.provenance import SHOWN, trace
from reports.tables.registry import build_all
from tests.reports.conftest import VIDEOS, results_in, with_trials

ODD = ("2:1", 1)
LOUD = {"flops": 10**12, "params": 10**9, "seconds": 1e6, "peak_memory_bytes": 10**12}
"""Whatever sums or averages these shows it."""
METRICS = {"top1": 60.0, "top5": 95.0, "loss": 1.2}
WAYS: Mapping[str, tuple[State, Mapping[str, Any]]] = {
    "failed": (State.FAILED, {"state": "failed", "error": {"kind": "data", "message": "gone"}}),
    "diverged": (State.DIVERGED, {"state": "diverged"}),
    "other epochs": (State.INCOMPARABLE, {"epochs": 99}),
    "other data": (State.INCOMPARABLE, {"data_hash": "e" * 16}),
    "other views": (State.INCOMPARABLE, {"views": {"frames": 16, "clips": 5, "crops": 1}}),
    "top1 is null": (State.INVALID, {"metrics": {**METRICS, "top1": None}}),
    "no top1": (State.INVALID, {"metrics": {"loss": 1.2}}),
    "top1 is 99": (State.INVALID, {"metrics": {**METRICS, "top1": 99.0}}),
    "top5 is 5": (State.INVALID, {"metrics": {"top5": 5.0, "top1": 60.0}}),
    "top1 is 160": (State.INVALID, {"metrics": {**METRICS, "top1": 160.0}, "answers": None}),
    "other denominator": (State.INVALID, {"expected": 2 * VIDEOS}),
    "fewer evaluated": (State.INVALID, {"evaluated": VIDEOS - 9}),
}
NOT_NUMBERS = ("top1", "loss", "seconds")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A study of nine sound trials."""
    folder = tmp_path_factory.mktemp("study")
    results = results_in(folder)("head_ratio", {"1:1": 0.7, "2:1": 0.6, "1:2": 0.5}, seeds=3)
    for number, trial in enumerate(results.finished):
        assert trial.directory is not None
        top1 = {name: 50.0 + number + place for place, name in enumerate(ORDERS)}
        write_json(trial.directory / FILE, {"finished_at": trial.result["finished_at"], "top1": top1})
    return results


@pytest.fixture(scope="module")
def expected(whole: Results) -> dict[str, Any]:
    """What is said of the study where one trial has failed and left nothing."""
    gone = replace(odd_trial(whole), state=State.FAILED, result={}, directory=None)
    return outputs(with_trials(whole, lambda trial: gone if is_odd(trial) else trial))


def is_odd(trial: TrialRecord) -> bool:
    return (trial.row, trial.seed) == ODD


def odd_trial(results: Results) -> TrialRecord:
    return next(trial for trial in results.collected[ODD[0]] if is_odd(trial))


def spoiled(whole: Results, **changes: Any) -> Results:
    """Return the study with one trial whose result says something else."""
    trial = odd_trial(whole)
    result = {**trial.result, **LOUD, **changes}
    odd = replace(trial, result=result, state=STATE_OF[result["state"]])
    return with_trials(whole, lambda each: odd if is_odd(each) else each)


@pytest.mark.parametrize("way", WAYS)
def test_no_output_changes_but_by_losing_the_trial(way: str, whole: Results, expected: dict[str, Any]) -> None:
    state, changes = WAYS[way]
    results = spoiled(whole, **changes)
    for name, found in outputs(results, state).items():
        assert found == expected[name], name
    is_named(results, state)


def test_a_label_among_the_first_five_less_often_than_first_is_a_contradiction(whole: Results) -> None:
    metrics = {**METRICS, "top1": 60.0, "top5": 59.5}
    is_named(spoiled(whole, answers=None, metrics=metrics), State.INVALID)


@pytest.mark.parametrize("name", ["top1", "loss", "seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_averaged(name: str, value: float, whole: Results) -> None:
    other = {"metrics": {**METRICS, name: value}} if name in METRICS else {name: value}
    is_named(spoiled(whole, **other), State.INVALID)


def test_a_trial_of_other_code_or_stopped_early_is_left_out(whole: Results) -> None:
    """Until such a trial has run again nothing is claimed: as if it had not begun."""
    odd = odd_trial(whole)
    missing, stale = (
        with_trials(whole, lambda each, state=state: replace(odd, state=state, why="a") if is_odd(each) else each)  # type: ignore[misc]
        for state in (State.MISSING, State.STALE)
    )
    expected = outputs(missing)
    for results, state in ((spoiled(whole, state="partial"), State.PARTIAL), (stale, State.STALE)):
        is_named(results, state)
        for name, found in outputs(results, state).items():
            assert found == expected[name], name


def test_curves_have_what_still_runs_and_say_of_how_many_seeds(whole: Results) -> None:
    for state, seeds in ((State.RUNNING, 3), (State.FINISHED, 3), (State.FAILED, 2)):
        results = with_trials(whole, lambda each, now=state: replace(each, state=now) if is_odd(each) else each)  # type: ignore[misc]
        found = history(results.row(ODD[0]), "val_top1")
        assert [len(values) for values in found.values()] == [seeds] * 3


def test_a_trial_of_several_tables_is_counted_once(whole: Results) -> None:
    results = spoiled(whole, epochs=99)
    elsewhere = replace(results, varied=frozenset({"recipe.epochs"}))
    alone, both = distinct([results]).values(), distinct([results, elsewhere]).values()
    assert sum(map(has_run, alone)) == sum(map(has_run, both)) == 9  # as farlab status counts
    assert states_but_finished(alone, run=True) == {"not comparable": 1}
    assert states_but_finished(both, run=True) == {}  # there it counts


@given(
    ranks=st.lists(st.integers(1, 9), min_size=1, max_size=40), missing=st.integers(0, 9), classes=st.integers(9, 400)
)
def test_what_a_test_came_to_never_contradicts_itself(ranks: list[int], missing: int, classes: int) -> None:
    expected = len(ranks) + missing
    held = np.array(ranks)
    metrics = {name: 100.0 * float((held <= k).sum()) / expected for name, k in correctness.TOP.items()}
    answers = correctness.pack([str(i) for i in range(len(ranks))], held, classes)
    result = {"metrics": {**metrics, "loss": 1.0}, "answers": answers, "evaluated": len(ranks), "expected": expected}
    assert not contradiction(result)
    for name, shift in (("top1", 100 / expected), ("top5", -100 / expected), ("loss", float("nan"))):
        assert contradiction({**result, "metrics": {**metrics, "loss": 1.0, name: metrics.get(name, 0.0) + shift}})


def test_equal_answers_have_a_power(whole: Results) -> None:
    same = whole.finished[0].result
    alike = with_trials(whole, lambda trial: replace(trial, result={**same, "key": trial.key}))
    assert ": 2 seeds per row." in answer(5.0, measured([alike], None), 0.8, False)


def outputs(results: Results, named: State | None = None) -> dict[str, Any]:
    """Return every number that a study's results come to, by what prints it.

    Args:
        results: of the study.
        named: state of the trial that its figures say they leave out.
    """
    tables = build_all([], [results])
    plain = [unmarked(table) for table in tables]
    return {
        **{name: render(plain) for name, render in RENDERERS.items()},
        **{name: numbers(name, results, named) for name, spec in FIGURES.items() if spec.needs_results},
        "power": answer(0.4, measured([results], None), 0.8, True),
        "spent": page.spent(results),
        "cost": cost_text(distinct([results]).values()),
        "environments": page.environments([results]),
        "tests": [page.tests(table) for table in tables],
        **{f"trace {name}": trace([results], ODD[0], name).splitlines()[:2] for name in SHOWN},
    }


def unmarked(table: Table) -> Table:
    """Return a table without what names the trials that it leaves out."""
    rows = [
        replace(
            row,
            cells={key: replace(cell, marks=()) for key, cell in row.cells.items()},
            data={key: value for key, value in row.data.items() if key != "seeds"},
        )
        for row in table.rows
    ]
    return replace(table, rows=tuple(rows), notes=())


def numbers(name: str, results: Results, named: State | None) -> str:
    """Return whatever a figure's axes have drawn."""
    from matplotlib import pyplot

    drawing = drawn(name, results, Options())
    figure = drawing.figure
    pyplot.close(figure)
    if named is not None:
        assert drawing.title.endswith(f"left out: 2:1 seed 1 ({named.value})")
        assert drawing.caption.endswith(f"Left out: 2:1 seed 1 ({named.value}).")
    found: list[Any] = []
    for axis in figure.axes:
        found += [line.get_xydata().tolist() for line in axis.lines]
        found += [path.vertices.tolist() for each in axis.collections for path in each.get_paths()]
        found += [each.get_bbox().bounds for each in axis.patches]
        found += [text.get_text() for text in (*axis.texts, *axis.get_yticklabels(), axis.title)]
    return json.dumps(found, default=float)


def is_named(results: Results, state: State) -> None:
    """Check that the odd trial stands in no mean, and is named under the table and in JSON."""
    (table,) = build_all([], [results])
    note = next(note.text for note in table.notes if note.text.startswith("2:1, seed 1: "))
    assert state.value in note
    row = json.loads(RENDERERS["json"]([table]))["rows"][1]
    assert row["seeds"]["1"]["state"] == state.value
    assert row["metrics"]["top1"]["n"] == 2
