"""Frames out of order: how much an answer depends on time is what is lost when time is taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from far.randomness import torch_rng
from far.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Arrange = Callable[["Tensor", list[str]], "Tensor"]
"""Maps clips (B, 3, T, H, W) and their videos' ids to clips of the same shape."""

ORDERS: Registry[Arrange] = Registry("order of frames")


@ORDERS.register("natural")
def natural(clips: Tensor, ids: list[str]) -> Tensor:
    """Leave the frames as they are."""
    return clips


@ORDERS.register("reversed")
def reversed_(clips: Tensor, ids: list[str]) -> Tensor:
    """Play every clip backwards."""
    return clips.flip(2)


@ORDERS.register("shuffled")
def shuffled(clips: Tensor, ids: list[str]) -> Tensor:
    """Shuffle every clip's frames, by the video's name: the same for every model."""
    import torch

    orders = [torch.randperm(clips.shape[2], generator=torch_rng(0, "shuffle-frames", name)) for name in ids]
    return torch.stack([clip[:, order] for clip, order in zip(clips, orders, strict=True)])
