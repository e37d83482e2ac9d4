"""A factorial's effects: right in sign and size, covered as they say, aliases named."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.factorial import measure, true_effects
from orchestrator.study.factorial import design
from reports.statistics.contrasts import effects_to_estimate, factorial_effects, signs_of
from reports.statistics.outcomes import stack
from reports.tables.registry import build_tables
from tests.reports.conftest import MakeResults

STUDY = """
study: crossed
ablate:
  components:
    mixing: {without: {model.interaction: none}}
    mean: {without: {model.classifier: global-mean}}
  modes: [factorial]
placebo: true
control: {recipe.lr: 0.5}
seeds: 3
"""
EVERY = ["full", "w/o mixing", "w/o mean", "none"]


@given(
    st.integers(2, 4).flatmap(
        lambda k: st.tuples(st.just(k), st.lists(st.integers(0, 40), min_size=2**k, max_size=2**k), st.integers(1, 3))
    )
)
def test_estimates_are_the_differences_of_means_that_they_say(drawn: tuple[int, list[int], int]) -> None:
    number, right, seeds = drawn
    names = [f"c{i}" for i in range(number)]
    present = {str(i): row for i, row in enumerate(design(names))}
    ids = tuple(f"{i:02d}" for i in range(40))
    rows = {row: stack({s: (ids, np.arange(40) < right[int(row)]) for s in range(seeds)}, 40) for row in present}
    sets = [frozenset(row) for row in present.values()]
    truth = true_effects(sets, tuple(100 * right[int(row)] / 40 for row in present))
    found = factorial_effects(rows, present, names)
    assert [effect.components for effect in found] == effects_to_estimate(names)
    for effect in found:
        assert effect.mean == pytest.approx(truth[effect.components], abs=1e-6)
        assert (effect.interval is None) == (seeds == 1)
        if effect.interval is not None:
            assert effect.interval[0] < effect.mean < effect.interval[1]
            assert effect.p is not None
            assert (effect.p < 0.05) == (not effect.interval[0] <= 0 <= effect.interval[1])


@pytest.mark.parametrize(("number", "halvings"), [(3, 1), (4, 1), (5, 2), (6, 2)])
def test_a_fraction_says_which_effects_it_cannot_tell_apart(number: int, halvings: int) -> None:
    names = [f"c{i}" for i in range(number)]
    present = {str(i): row for i, row in enumerate(design(names, 2**halvings))}
    ids = tuple(f"{i:02d}" for i in range(20))
    rng = np.random.default_rng(number)
    rows = {row: stack({s: (ids, rng.random(20) < 0.7) for s in range(2)}, 20) for row in present}
    found = factorial_effects(rows, present, names)
    told = {effect.components for effect in found} | {alias for effect in found for alias in effect.aliases}
    assert {(name,) for name in names} <= {effect.components for effect in found}
    varied = {some for some in effects_to_estimate(names) if abs(signs_of(some, present).sum()) < len(present)}
    assert told == varied
    columns = [signs_of(effect.components, present) for effect in found]
    for one, other in itertools.combinations(columns, 2):
        assert one @ other == 0
    for effect, column in zip(found, columns, strict=True):
        for alias in effect.aliases:
            assert abs(column @ signs_of(alias, present)) == len(present)


def test_intervals_cover_planted_interactions() -> None:
    found = measure("moderate", 3, 3, 400, studies=150)
    assert 93.0 <= found["coverage"] <= 99.0
    assert found["size"] <= 7.0


def test_effects_stand_in_a_table_of_their_own(make_results: MakeResults, tmp_path: Path) -> None:
    path = tmp_path / "crossed.yaml"
    path.write_text(STUDY)
    accuracies = {"full": 0.8, "w/o mixing": 0.5, "w/o mean": 0.75, "none": 0.65, "Placebo": 0.8, "Control": 0.3}
    results = make_results(path, accuracies, seeds=3)
    rows, effects = build_tables(results)
    mean = {row.name: sum(row.by_seed("top1").values()) / 3 for row in results.rows}
    assert [row.name for row in rows.rows] == [*EVERY, "Placebo", "Control"]
    by_name = {row.name: row.cells["effect_top1"].value for row in effects.rows}
    alone = mean["w/o mean"] - mean["none"]
    both = mean["full"] - mean["w/o mixing"]
    assert by_name["mixing"] == pytest.approx((alone + both) / 2)
    assert by_name["mixing × mean"] == pytest.approx(both - alone)
    assert by_name["mean"] == pytest.approx((mean["full"] - mean["w/o mean"] + mean["w/o mixing"] - mean["none"]) / 2)
    assert {row.name for row in effects.rows if row.cells["effect_top1"].stars} >= {"mixing", "mixing × mean"}
    unsubmitted = build_tables(replace(results, home=None))[1]
    assert all(row.cells["effect_top1"].interval is None for row in unsubmitted.rows)


def test_effects_wait_for_every_row(make_results: MakeResults, tmp_path: Path) -> None:
    path = tmp_path / "crossed.yaml"
    path.write_text(STUDY)
    effects = build_tables(make_results(path, skip={("none", seed) for seed in range(3)}, seeds=3))[1]
    assert effects.rows == ()
    assert "1 of 4 rows have not finished" in effects.notes[0].text
