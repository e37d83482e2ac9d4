"""The formulas of VideoMAE and MVD, index for index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.architecture.sampling import SAMPLERS, Dense, MvdSegments, VideomaeSegments, sampler
from far.config.data import DataConfig


class Extreme:
    """Stands in for a generator: every draw is its lowest (0) or highest (1) possible value."""

    def __init__(self, end: int) -> None:
        self.end = end

    def integers(self, low, high, size=None, endpoint=False):  # type: ignore[no-untyped-def]
        value = np.asarray(high) - (0 if endpoint else 1) if self.end else np.asarray(low)
        return np.broadcast_to(value, size or np.shape(value)).copy() if size or np.ndim(value) else int(value)


@pytest.mark.parametrize("name", list(SAMPLERS))
@given(n=st.integers(1, 400), size=st.integers(1, 32), seed=st.integers(0, 99), views=st.integers(1, 6))
def test_every_scheme_gives_frames_in_order_and_in_range(name: str, n: int, size: int, seed: int, views: int) -> None:
    scheme = sampler(DataConfig(sampling=name))
    clips = [scheme.train(n, size, np.random.default_rng(seed))]
    clips += [scheme.view(n, size, view, views) for view in range(views)]
    for clip in clips:
        assert clip.shape == (size,)
        assert clip.dtype == np.int64
        assert clip.min() >= 0
        assert clip.max() < n
        assert (np.diff(clip) >= 0).all()


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("size", [8, 16])
def test_a_video_as_long_as_the_span_is_not_short(name: str, size: int) -> None:
    scheme = sampler(DataConfig(sampling=name))
    distinct = len(set(scheme.view(scheme.span(size), size, 0, 1).tolist()))
    assert distinct >= size - 1  # MVD's rounding may repeat one
    assert len(set(scheme.view(scheme.span(size) // 2, size, 0, 1).tolist())) <= size // 2


# -- MVD, Something-Something V2 ---------------------------------------------------------------------------------


def test_mvd_training_bounds() -> None:
    # (41 - 1) / 16 = 2.5; round half to even: 0, 2.5 -> 2, 5, 7.5 -> 8, 10, 12.5 -> 12, ...
    bounds = [0, 2, 5, 8, 10, 12, 15, 18, 20, 22, 25, 28, 30, 32, 35, 38, 40]
    assert MvdSegments().train(41, 16, Extreme(0)).tolist() == bounds[:-1]
    assert MvdSegments().train(41, 16, Extreme(1)).tolist() == bounds[1:]


def test_mvd_test_views() -> None:
    # tick 2.5: view 0 of 2 is (round(2.5 i) + round(2.5 i + 1.25)) // 2
    assert MvdSegments().view(41, 16, 0, 2)[:4].tolist() == [(0 + 1) // 2, (2 + 4) // 2, (5 + 6) // 2, (8 + 9) // 2]
    assert MvdSegments().view(41, 16, 1, 2)[:4].tolist() == [(1 + 2) // 2, (4 + 5) // 2, (6 + 8) // 2, (9 + 10) // 2]


@given(n=st.integers(1, 500))
def test_mvd_test_views_by_the_formula(n: int) -> None:
    tick = (n - 1) / 16
    for c in (0, 1):
        expected = [(round(tick * i + tick / 2 * c) + round(tick * i + tick / 2 * (c + 1))) // 2 for i in range(16)]
        assert MvdSegments().view(n, 16, c, 2).tolist() == expected


def test_mvd_short_video_repeats_by_rounding() -> None:
    # a = 4 / 16: bounds round(0.25 i) = 0 0 0 1 1 1 2 2 2 2 2 3 3 3 4 4 4
    assert MvdSegments().train(5, 16, Extreme(0)).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4]
    assert MvdSegments().train(1, 16, Extreme(1)).tolist() == [0] * 16


# -- VideoMAE, Something-Something V2 ----------------------------------------------------------------------------


def test_videomae_training() -> None:
    # 41 // 16 = 2 frames a segment: the last nine frames are never used
    assert VideomaeSegments().train(41, 16, Extreme(0)).tolist() == list(range(0, 32, 2))
    assert VideomaeSegments().train(41, 16, Extreme(1)).tolist() == list(range(1, 32, 2))
    assert VideomaeSegments().train(15, 16, Extreme(1)).tolist() == [0] * 16


@given(n=st.integers(1, 500))
def test_videomae_test_views_interleave_starts_and_middles(n: int) -> None:
    tick = n / 16
    merged = sorted([int(tick * x) for x in range(16)] + [int(tick / 2 + tick * x) for x in range(16)])
    assert VideomaeSegments().view(n, 16, 0, 2).tolist() == merged[0::2]
    assert VideomaeSegments().view(n, 16, 1, 2).tolist() == merged[1::2]


def test_videomae_test_views_worked() -> None:
    # tick 2.5625
    assert VideomaeSegments().view(41, 16, 0, 2)[:5].tolist() == [0, 2, 5, 7, 10]
    assert VideomaeSegments().view(41, 16, 1, 2)[:5].tolist() == [1, 3, 6, 8, 11]


# -- Kinetics-400, dense 16 x 4 ----------------------------------------------------------------------------------


def test_dense_training_window() -> None:
    # the window ends at 64 at the earliest: 16 points over [0, 64], stride 64 / 15, the last pulled back to 63
    first = [0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63]
    assert Dense().train(300, 16, Extreme(0)).tolist() == first
    # and at n - 1 at the latest
    assert Dense().train(300, 16, Extreme(1)).tolist() == [i + 235 for i in first]


def test_dense_training_of_short_videos() -> None:
    # 30 // 4 = 7 points over [0, 30], then the last frame
    assert Dense().train(30, 16, Extreme(0)).tolist() == [0, 5, 10, 15, 20, 25, 29, *[29] * 9]
    assert Dense().train(64, 16, Extreme(0)).tolist() == [0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63]
    assert Dense().train(3, 16, Extreme(0)).tolist() == [2] * 16


def test_dense_test_views() -> None:
    # 300 frames: 75 at stride 4; five windows start at int(k * 59 / 4) = 0, 14, 29, 44, 59
    for view, start in enumerate([0, 14, 29, 44, 59]):
        assert Dense().view(300, 16, view, 5).tolist() == [4 * (start + i) for i in range(16)]
    # 10 frames: 0, 4, 8, then the last of these
    assert Dense().view(10, 16, 3, 5).tolist() == [0, 4, 8, *[8] * 13]


def test_one_view_is_the_middle() -> None:
    assert Dense().view(300, 16, 0, 1).tolist() == [4 * (29 + i) for i in range(16)]
    assert VideomaeSegments().view(32, 16, 0, 1).tolist() == list(range(1, 32, 2))
    assert MvdSegments().view(33, 16, 0, 1).tolist() == list(range(1, 32, 2))
