from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from far.data.recycling import RecycledMemory

CPU = torch.device("cpu")


def test_what_was_let_go_is_used_again() -> None:
    memory = RecycledMemory()
    first = memory.empty((4, 100), CPU)
    place, part = first.data_ptr(), first[1:, ::2]
    del first
    assert memory.empty((4, 100), CPU).data_ptr() != place  # a part of it is still there
    del part
    both = [memory.empty((4, 100), CPU) for _ in range(2)]
    assert place in [each.data_ptr() for each in both]


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 4)), max_size=30))
def test_no_two_tensors_share_memory(steps: list[tuple[int, int]]) -> None:
    """Each step makes a tensor of a size and keeps so many of the last ones."""
    memory = RecycledMemory()
    kept: list[tuple[int, torch.Tensor]] = []
    for number, (size, keep) in enumerate(steps):
        tensor = memory.empty((size,), CPU)
        assert (tensor.shape, tensor.dtype) == ((size,), torch.float32)
        kept = [*kept, (number, tensor.fill_(number))][-1 - keep :]
        assert all((old == value).all() for value, old in kept)
