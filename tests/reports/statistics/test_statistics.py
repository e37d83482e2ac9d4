"""The analysis of a study, on data whose truth is known, and against scipy and statsmodels."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from benchmarks.simulation.cells import against_base, chances, false_claims_over_looks, measure, outcomes
from benchmarks.simulation.generator import SCENARIOS, generate
from far.errors import DataError
from far.evaluate.metrics import Scores
from reports.statistics import (
    Design,
    Difference,
    Outcomes,
    Verdict,
    adjust,
    assumed,
    compare_pairs,
    count_pairs,
    detectable,
    holm,
    level_of_look,
    mcnemar,
    power,
    seed_variances,
    seeds_needed,
    seeds_range,
    stack,
    verdict,
)
from reports.statistics.outcomes import read_scores
from reports.statistics.power import detectable_margin, power_equal, seed_variance_range, seeds_for_equal
from reports.statistics.verdicts import LEVELS

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def compare(row: Outcomes, reference: Outcomes, **options: float) -> Difference | None:
    """Compare two rows that are all there is of a study."""
    return compare_pairs({"row": row, "reference": reference}, [("row", "reference")], **options).get(
        ("row", "reference")
    )


@pytest.mark.parametrize(("name", "rows", "seeds"), [("moderate", 5, 3), ("large", 5, 3), ("heavy tails", 12, 2)])
def test_sizes_coverage_and_wrong_equality(name: str, rows: int, seeds: int) -> None:
    """A small form of ``python -m benchmarks.simulation``: what errs on the safe side may err by more than is shown."""
    found = measure(BY_NAME[name], rows, seeds, 400, 300)
    assert found.size is not None
    assert found.size <= 7
    assert found.coverage >= 92
    assert found.equal <= 7
    assert found.family <= 7
    assert found.null_width == 0


def test_ceilings_are_covered_and_no_interval_has_width_0() -> None:
    """At 99 % on 56 videos networks often differ nowhere, which is no certainty."""
    found = measure(BY_NAME["ceiling"], 3, 3, 56, 300)
    assert found.coverage >= 93
    assert found.null_width == 0


def test_looks_spend_the_error() -> None:
    """A look after every seed, which claims something in 13-17 % of tables where nothing is spent."""
    by_look = false_claims_over_looks(BY_NAME["large"], 5, 200, 150)
    assert by_look[-1] <= 9  # 150 studies: 7 % is known to 2 %
    assert sum(LEVELS) == pytest.approx(0.07)
    assert level_of_look(len(LEVELS) + 1) is None


def test_rows_of_a_study_inform_each_other() -> None:
    """What each row alone cannot show at two seeds, twelve rows do."""
    found = chances(BY_NAME["large"], 12, 2, 400, 25.0, 60)
    assert found["one comparison"] > found["each row alone"] + 30


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 5),
    seeds=st.integers(2, 4),
    videos=st.integers(1, 40),
    agree=st.floats(0, 1),
    seed=st.integers(0, 10_000),
    level=st.sampled_from(LEVELS),
)
def test_intervals_exclude_0_exactly_where_p_is_small(
    rows: int, seeds: int, videos: int, agree: float, seed: int, level: float
) -> None:
    rng = np.random.default_rng(seed)
    ids = tuple(map(str, range(videos)))
    base = rng.uniform(size=(seeds, videos)) < 0.5
    study = {
        str(r): Outcomes(
            ids, dict(enumerate(np.where(rng.uniform(size=base.shape) < agree, base, rng.uniform(size=1) < 0.5)))
        )
        for r in range(rows)
    }
    for found in compare_pairs(study, against_base(rows), margin=5.0, level=level).values():
        assert found.p is not None and found.interval is not None and found.p_equal is not None
        low, high = found.interval
        assert low < found.mean < high
        assert (low > 0 or high < 0) == (found.p < 0.05) or found.p == pytest.approx(0.05)
        assert 0 <= found.p <= 1 and 0 <= found.p_equal <= 1
        within = max(-low, high) < 5  # two one-sided tests at 0.05 are the 90 % interval, which is within the 95 %
        assert not within or found.p_equal < 0.05


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_a_constant_difference_on_few_videos_is_no_certainty(seeds: int) -> None:
    ids = tuple(map(str, range(10)))
    right = Outcomes(ids, {s: np.ones(10, bool) for s in range(seeds)})
    wrong = Outcomes(ids, {s: np.zeros(10, bool) for s in range(seeds)})
    found = compare(right, wrong)
    assert found is not None and found.p is not None and found.interval is not None
    assert found.p >= 2 / 2**10  # the exact sign test over ten videos
    assert found.interval[0] < 100 < found.interval[1]


def test_four_videos_gained_by_every_seed_are_not_enough() -> None:
    ids = tuple(map(str, range(200)))
    gains = np.zeros(200, bool)
    gains[:4] = True
    found = compare(
        Outcomes(ids, dict.fromkeys(range(3), gains)), Outcomes(ids, dict.fromkeys(range(3), np.zeros(200, bool)))
    )
    assert found is not None and found.p == pytest.approx(0.125)


def test_a_row_that_departs_keeps_its_own_variance() -> None:
    rng = np.random.default_rng(0)
    study = outcomes(generate(rng, replace(BY_NAME["moderate"], odd=8.0), 8, 6, 400))
    spread = seed_variances(study)
    assert spread["7"].departs < 0.01
    assert spread["7"].value > 5 * spread["1"].value
    assert spread["7"].df < spread["1"].df


def test_variances_of_an_incomplete_table_are_those_of_least_squares() -> None:
    """Complete tables take a short cut; a seed that one row lacks must not change what the others say."""
    rng = np.random.default_rng(1)
    study = outcomes(generate(rng, BY_NAME["moderate"], 4, 3, 400))
    whole = seed_variances(study)
    study["3"] = Outcomes(study["3"].ids, {s: bits for s, bits in study["3"].correct.items() if s < 2})
    assert seed_variances(study)["3"].df == pytest.approx(
        1 + min(4, 12) * min(1, seed_variances(study)["3"].departs / 0.2)
    )
    alone = {name: row for name, row in study.items() if name != "3"}
    assert seed_variances(alone)["0"].value != whole["0"].value


def test_a_row_that_alone_varies_keeps_its_variance() -> None:
    ids = tuple(map(str, range(100)))
    steady = np.arange(100) < 70
    study = {str(r): Outcomes(ids, dict.fromkeys(range(3), steady)) for r in range(4)}
    assert all(own.value == 0 and own.departs == 1 for own in seed_variances(study).values())
    study["4"] = Outcomes(ids, {s: np.arange(100) < 60 + 10 * s for s in range(3)})
    spread = seed_variances(study)
    assert spread["4"].value == pytest.approx(0.01) and spread["4"].departs == 0


def test_one_seed_allows_no_claim() -> None:
    rng = np.random.default_rng(2)
    study = outcomes(generate(rng, BY_NAME["moderate"], 3, 1, 400))
    found = compare_pairs(study, against_base(3), margin=1.0)["1", "0"]
    assert found.p is None and found.interval is None and found.p_equal is None


def test_ignoring_seeds_would_claim_too_much() -> None:
    """Why seeds are in the test at all: McNemar of one seed answers another question."""
    rng = np.random.default_rng(0)
    ps = []
    for _ in range(100):
        study = outcomes(generate(rng, BY_NAME["large"], 2, 1, 1000))
        counts = count_pairs(study["1"], study["0"])
        assert counts is not None
        ps.append(mcnemar(counts.gained, counts.lost)[0])
    assert np.mean(np.array(ps) < 0.05) > 0.2


def test_components_are_those_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(1)
    mine, theirs = rng.uniform(size=(2, 5, 300)) < rng.uniform(size=300)
    ids = tuple(map(str, range(300)))
    counts = count_pairs(Outcomes(ids, dict(enumerate(mine))), Outcomes(ids, dict(enumerate(theirs))))
    assert counts is not None
    d = mine.astype(float) - theirs
    residual = d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()
    noise = (residual**2).sum() / (4 * 299)
    assert counts.noise == pytest.approx(noise)
    assert counts.video == pytest.approx(max(d.mean(axis=0).var(ddof=1) - noise / 5, 0))


@pytest.mark.parametrize("rows", [2, 5])
def test_power_agrees_with_simulation(rows: int) -> None:
    rng = np.random.default_rng(2)
    seeds, videos, shift, studies = 5, 300, 6.0, 200
    parts, rejected = [], 0
    for _ in range(studies):
        study = outcomes(generate(rng, BY_NAME["moderate"], rows, seeds, videos, (0.0, shift)))
        found = compare_pairs(study, [("1", "0")], margin=8.0)["1", "0"]
        assert found.p is not None and found.components is not None
        rejected += found.p < 0.05
        parts.append((found.components.seed, found.components.video, found.components.noise))
    mean = type(assumed(1, 1))(*np.mean(parts, axis=0))
    assert power(shift, Design(mean, videos, rows), seeds) == pytest.approx(rejected / studies, abs=0.09)


def test_power_rises_and_its_inverses_agree() -> None:
    design = Design(assumed(seed_sd=0.2, disagreement=12), 24_777, rows=5)
    powers = [power(0.4, design, n) for n in (2, 3, 5, 10, 20)]
    assert powers == sorted(powers)
    needed = seeds_needed(0.4, design)
    assert needed is not None
    assert power(0.4, design, needed) >= 0.8 > power(0.4, design, needed - 1)
    assert power(detectable(design, 5), design, 5) == pytest.approx(0.8, abs=0.01)
    assert seeds_needed(0.1, replace(design, videos=400)) is None  # no number of seeds makes up for few videos
    assert power(50.0, design, 10) == pytest.approx(1.0)
    assert power_equal(detectable_margin(design, 5), design, 5) == pytest.approx(0.8, abs=0.01)
    margin_seeds = seeds_for_equal(0.5, design)
    assert margin_seeds is not None and power_equal(0.5, design, margin_seeds) >= 0.8
    assert detectable(replace(design, rows=12), 2) < detectable(replace(design, rows=2), 2) / 3
    low, high = seed_variance_range(design, 2)
    assert low.components.seed < design.components.seed < high.components.seed


@pytest.mark.parametrize("videos", [2, 10])
def test_power_of_any_design_is_known(videos: int) -> None:
    """Even where no video is answered differently, or the seeds decide everything."""
    for seed_sd, disagreement in itertools.product((0.0, 50.0), (0.0, 100.0)):
        design = Design(assumed(seed_sd, disagreement), videos, 2)
        assert detectable(design, 2) > 0
        assert 0 <= power(1.0, design, 2) <= 1


def test_seeds_that_a_claim_takes_are_a_range() -> None:
    """The true number is in it in about 80 % of studies, where a single number is right by chance."""
    rng = np.random.default_rng(3)
    scenario, videos, shift, inside = BY_NAME["large"], 2000, 4.0, 0
    long = outcomes(generate(np.random.default_rng(0), scenario, 3, 300, videos, (0.0, shift)))
    truth = compare_pairs(long, [("1", "0")])["1", "0"].components
    assert truth is not None
    true = seeds_needed(shift, Design(truth, videos, 5))
    assert true is not None
    for _ in range(100):
        study = outcomes(generate(rng, scenario, 5, 3, videos, (0.0, shift)))
        least, most = seeds_range(compare_pairs(study, [("1", "0")])["1", "0"], rows=5, level=0.05)
        inside += least is not None and least <= true and (most is None or true <= most)
    assert inside >= 70


@pytest.mark.parametrize("seed", range(10))
def test_holm_is_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ps = np.round(rng.uniform(size=rng.integers(1, 9)) ** 3, 2).tolist()  # small ones, and ties
    np.testing.assert_allclose(holm(ps), multipletests(ps, method="holm")[1], atol=1e-12)
    bounded = holm(ps, most=2)
    assert all(a <= b + 1e-12 for a, b in zip(bounded, multipletests(ps, method="holm")[1], strict=True))
    assert all(a >= p for a, p in zip(bounded, ps, strict=True))


def test_verdicts() -> None:
    ids = tuple(map(str, range(4000)))
    rng = np.random.default_rng(4)
    base = rng.uniform(size=4000) < 0.7
    rows = {"base": base, "same": base, "worse": base & (rng.uniform(size=4000) < 0.9)}
    study = {
        name: Outcomes(ids, {s: bits ^ (rng.uniform(size=4000) < 0.003) for s in range(3)})
        for name, bits in rows.items()
    }
    found = compare_pairs(study, [("same", "base"), ("worse", "base")], margin=1.0)
    differ, equal = adjust(found)
    said = {pair[0]: verdict(differ[pair], equal[pair]) for pair in found}
    assert said == {"same": Verdict.EQUAL, "worse": Verdict.DIFFERENT}
    narrow, _ = adjust(compare_pairs(study, [("same", "base")], margin=0.01))
    assert verdict(narrow["same", "base"], 1.0) is Verdict.UNDECIDED


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (0, 7), (5, 5), (12, 3), (40, 22), (3, 39)])
def test_mcnemar_is_statsmodels(gained: int, lost: int) -> None:
    expected = reference_mcnemar([[10, gained], [lost, 0]], exact=True).pvalue if gained + lost else 1.0
    assert mcnemar(np.array(gained), np.array(lost)) == pytest.approx(min(1.0, expected), abs=1e-9)


def test_comparison_of_a_row_with_itself_shows_nothing_and_proves_nothing() -> None:
    rng = np.random.default_rng(3)
    study = outcomes(generate(rng, BY_NAME["moderate"], 2, 3, 60))
    found = compare(study["0"], study["0"])
    assert found is not None and found.interval is not None
    assert (found.mean, found.p) == (0.0, 1.0)
    assert found.interval[0] < 0 < found.interval[1]


def test_only_shared_seeds_are_compared() -> None:
    ids = ("a", "b", "c")
    row = Outcomes(ids, {0: np.array([True, True, False]), 1: np.array([True, True, True])})
    baseline = Outcomes(ids, {1: np.array([True, False, False]), 2: np.array([True, True, True])})
    found = compare(row, baseline)
    assert found is not None
    assert found.per_seed == {1: pytest.approx(200 / 3)}
    assert found.p is None and found.interval is None
    assert compare(row, Outcomes(ids, {5: np.array([True, True, True])})) is None


def test_unanswered_videos_count_as_wrong() -> None:
    whole = stack({0: (("a", "b"), np.array([True, True])), 1: (("b",), np.array([True]))})
    assert whole.ids == ("a", "b")
    assert whole.correct[1].tolist() == [False, True]
    counts = count_pairs(whole, Outcomes(("b", "c"), {0: np.array([True, True])}))
    assert counts is not None
    assert counts.seeds == (0,)
    assert (counts.gained.tolist(), counts.lost.tolist(), counts.by_video.tolist()) == ([1], [1], [1, 0, -1])


def test_unanswered_by_all_is_wrong_for_all() -> None:
    one = stack({0: (("a", "b"), np.array([True, True]))}, expected=5)
    other = stack({0: (("b", "c"), np.array([False, True]))}, expected=5)
    found = compare(one, other)
    assert found is not None
    assert (found.counts, found.videos) == ({0: (2, 1)}, 5)
    assert found.mean == pytest.approx(100 * (2 / 5 - 1 / 5))
    nothing = stack({0: ((), np.zeros(0, dtype=bool))}, expected=5)
    found = compare(one, nothing)
    assert found is not None and found.mean == pytest.approx(40)


def test_what_is_not_a_number_is_wrong() -> None:
    scores = Scores(("a",), np.array([0]), np.array([[np.nan, np.nan]]))
    assert scores.correct(1).tolist() == [False]


def test_views_are_merged_by_the_mean_of_their_softmax(tmp_path: Path) -> None:
    import pyarrow as pa

    logits = [[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]]
    table = pa.table({"id": ["v", "v", "v", "u"], "label": [0, 0, 0, 1], "clip": [0, 1, 2, 0], "crop": [0] * 4,
                      "logits": pa.array(logits, type=pa.list_(pa.float32()))})  # fmt: skip
    pq.write_table(table, tmp_path / "p.parquet")
    scores = read_scores(tmp_path / "p.parquet")
    assert scores.ids == ("u", "v")
    softmax = np.exp(logits[:3]) / np.exp(logits[:3]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.probabilities[1], softmax.mean(axis=0), rtol=1e-6)
    assert scores.correct(1).tolist() == [False, True]


def test_damaged_predictions_are_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"p\.parquet"):
        read_scores(tmp_path / "p.parquet")


def test_the_papers_own_differences() -> None:
    """Large ones are resolvable whatever is assumed within reason; those of 0.1-0.4 points are not, with two seeds."""
    from reports.statistics.published import claims

    for seed_sd, disagreement in ((0.1, 8.0), (0.15, 10.0), (0.25, 14.0)):
        found = {(c.table, c.row): c for c in claims(seed_sd, disagreement)}
        assert found[2, "Temporal"].resolvable
        assert found[2, "Temporal"].difference == -23.2
        small = [c for c in found.values() if abs(c.difference) <= 0.4]
        assert len(small) == 16
        assert not any(c.resolvable for c in small)
    assert found[7, "FAR (MVD) ViT-S"].difference == 0.4
