"""Collective operations between a trial's processes, outside DeepSpeed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from far.distributed import World


def mean_over_ranks(value: float, world: World) -> float:
    """Return the mean of a number over all processes."""
    return value if world.size == 1 else _reduced([value], world, "SUM")[0] / world.size


def sum_over_ranks(value: int, world: World) -> int:
    """Return the sum of a number over all processes."""
    return value if world.size == 1 else int(_reduced([value], world, "SUM")[0])


def greatest_over_ranks(values: Sequence[int], world: World) -> list[int]:
    """Return the greatest of each of some numbers over all processes."""
    return list(values) if world.size == 1 else [int(value) for value in _reduced(values, world, "MAX")]


def gathered(value: Any, world: World) -> list[Any]:
    """Return every process's plain value, by rank."""
    if world.size == 1:
        return [value]
    import torch

    values: list[Any] = [None] * world.size
    torch.distributed.all_gather_object(values, value)
    return values


def barrier(world: World) -> None:
    """Wait for the others."""
    if world.size > 1:
        import torch

        torch.distributed.barrier()


def _reduced(values: Sequence[float], world: World, operation: str) -> list[Any]:
    import torch

    dtype = torch.float32 if any(isinstance(value, float) for value in values) else torch.int64
    tensor = torch.tensor(values, device=world.device, dtype=dtype)
    torch.distributed.all_reduce(tensor, op=getattr(torch.distributed.ReduceOp, operation))
    return list(tensor.tolist())
