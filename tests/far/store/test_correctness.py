"""Answers packed into a result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from far.store import correctness


@given(ranks=st.lists(st.integers(1, 12), max_size=40))
def test_what_is_packed_comes_out_again(ranks: list[int]) -> None:
    ids = [f"v{n:02d}" for n in range(len(ranks))]
    packed = correctness.pack(ids, np.array(ranks, dtype=np.int64), 12)
    assert packed["count"] == len(ranks)
    assert correctness.unpack(packed, "top1").tolist() == [rank == 1 for rank in ranks]
    assert correctness.unpack(packed, "top5").tolist() == [rank <= 5 for rank in ranks]


def test_other_videos_or_another_order_have_another_digest() -> None:
    assert len({correctness.digest(ids) for ids in (["a", "b"], ["b", "a"], ["ab"], [])}) == 4


@pytest.mark.parametrize("damage", [{"top1": "AA"}, {"top1": "!"}, {"top1": "AAAA"}, {"count": None}, {"top1": None}])
def test_damage_is_an_error(damage: dict[str, object]) -> None:
    packed = correctness.pack(["a", "b"], np.array([1, 2]), 3)
    with pytest.raises(ValueError, match="damaged"):
        correctness.unpack({**packed, **damage}, "top1")
