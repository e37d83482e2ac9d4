"""Rounding: the digits of a table are those that a person gets from the counts behind it, by hand and half up."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.text import rounded
from reports.results.results import Results
from reports.tables.ablation import build_table
from reports.tables.cells import deviation
from reports.text import number

MakeResults = Callable[..., Results]
BY_HAND = Context(prec=60, rounding=ROUND_HALF_UP)
counts = st.integers(1, 25_000).flatmap(
    lambda videos: st.tuples(st.just(videos), st.lists(st.integers(0, videos), min_size=1, max_size=12))
)


def half_up(value: Fraction, decimals: int) -> Decimal:
    """Round by whole numbers alone."""
    scaled = abs(value) * 10**decimals
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Decimal(whole if value >= 0 else -whole).scaleb(-decimals)


@given(counts, st.integers(1, 3))
def test_a_mean_has_the_digits_of_the_exact_counts(drawn: tuple[int, list[int]], decimals: int) -> None:
    videos, correct = drawn
    exact = Fraction(100 * sum(correct), videos * len(correct))
    assert rounded(statistics.fmean(100 * each / videos for each in correct), decimals) == half_up(exact, decimals)


@given(counts, counts, st.integers(1, 3))
def test_a_difference_has_the_digits_of_the_exact_counts(
    own: tuple[int, list[int]], other: tuple[int, list[int]], decimals: int
) -> None:
    pairs = list(zip(own[1], (each % (own[0] + 1) for each in other[1]), strict=False))
    exact = Fraction(100 * sum(a - b for a, b in pairs), own[0] * len(pairs))
    mean = statistics.fmean(100 * (a - b) / own[0] for a, b in pairs)
    assert rounded(mean, decimals) == half_up(exact, decimals)
    assert number(mean, decimals, signed=True).replace("−", "-").lstrip("+") == f"{half_up(exact, decimals) + 0:f}"


@given(counts.filter(lambda drawn: len(drawn[1]) > 1), st.integers(1, 3))
def test_a_deviation_has_the_digits_of_the_exact_counts(drawn: tuple[int, list[int]], decimals: int) -> None:
    videos, correct = drawn
    values = [Fraction(100 * each, videos) for each in correct]
    variance = sum((each - sum(values) / len(values)) ** 2 for each in values) / (len(values) - 1)
    exact = BY_HAND.sqrt(BY_HAND.divide(Decimal(variance.numerator), Decimal(variance.denominator)))
    shown = deviation([100 * each / videos for each in correct])
    assert shown is not None
    assert rounded(shown, decimals) == exact.quantize(Decimal(1).scaleb(-decimals), context=BY_HAND)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(62.25, "62.3"), (57.25, "57.3"), (57.75, "57.8"), (0.35, "0.4"), (62.249999999999996, "62.3"), (62.24, "62.2"),
     (-0.25, "−0.3"), (-0.04, "0.0"), (1e22, "10000000000000000000000.0"), (99.95, "100.0"), (7, "7.0")],
)  # fmt: skip
def test_numbers_as_a_person_rounds_them(value: float, shown: str) -> None:
    assert number(value, 1) == shown


def test_bold_goes_by_the_digits_that_are_shown(make_results: MakeResults) -> None:
    values = {"1:1": 62.25, "2:1": 62.3, "1:2": 62.2}
    changes = {
        (row, 0): {"metrics": {"top1": value, "top5": 90.0}, "with_answers": False} for row, value in values.items()
    }
    table = build_table(make_results("head_ratio", changes=changes, seeds=1))
    cells = {row.name: row.cells["top1"] for row in table.rows}
    assert {name: (cell.text, cell.best) for name, cell in cells.items()} == {
        "1:1": ("62.3", True), "2:1": ("62.3", True), "1:2": ("62.2", False),
    }  # fmt: skip
