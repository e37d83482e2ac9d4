"""Token order and groupings: every pattern's groups are found again, whatever else shares the order."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from far.architecture.patterns import PATTERNS
from far.architecture.token_order import group_sizes, grouping, token_order

grids = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


@settings(max_examples=60, deadline=None)
@given(grid=grids, others=st.sets(st.sampled_from(sorted(PATTERNS))), name=st.sampled_from(sorted(PATTERNS)))
def test_the_segments_are_the_patterns_groups(grid: tuple[int, int, int], others: set[str], name: str) -> None:
    order = token_order(others, grid)
    found = grouping(name, grid, order)
    raster = order if found.gather is None else order[found.gather]
    labels = PATTERNS[name](grid).ravel()[raster]
    ends = [0]
    groups = []
    for run in found.segments:
        assert run.start == ends[-1]
        for start in range(run.start, run.stop, run.size):
            assert len(set(labels[start : start + run.size])) == 1
            groups.append(labels[start])
        ends.append(run.stop)
    assert ends[-1] == len(order)
    assert sorted(groups) == list(range(len(group_sizes(name, grid))))


@pytest.mark.parametrize("names", list(itertools.combinations(["global", "sparse-dense", "temporal"], 2)))
@pytest.mark.parametrize("grid", [(8, 14, 14), (4, 7, 7), (2, 1, 5)])
def test_the_papers_patterns_nest_and_need_no_gather(names: tuple[str, ...], grid: tuple[int, int, int]) -> None:
    order = token_order(names, grid)
    assert all(grouping(name, grid, order).gather is None for name in names)


def test_an_odd_checkerboard_has_unequal_groups() -> None:
    assert group_sizes("sparse-dense", (8, 7, 7)).tolist() == [25 * 8, 24 * 8]
    runs = grouping("sparse-dense", (8, 7, 7), token_order(["sparse-dense"], (8, 7, 7))).segments
    assert [(run.groups, run.size) for run in runs] == [(1, 200), (1, 192)]


def test_labels_count_from_zero_without_gaps() -> None:
    for name, grid in itertools.product(PATTERNS, [(3, 4, 4), (2, 7, 7), (1, 1, 1), (2, 1, 3)]):
        labels = PATTERNS[name](grid)
        assert labels.shape == grid
        assert np.unique(labels).tolist() == list(range(labels.max() + 1))
