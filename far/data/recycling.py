"""Memory for batches that is used again: the pages of a fresh one cost a CPU about as much as what is written there."""

from __future__ import annotations

import math
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


class RecycledMemory:
    """Makes float32 tensors; those on a CPU in memory of earlier ones that nobody refers to any more.

    A block of memory ends with this object and the last tensor on it.
    """

    def __init__(self) -> None:
        self._blocks: list[tuple[torch.Tensor, weakref.ref[np.ndarray]]] = []
        self._lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return a tensor of whatever values; of another type than float32 it has memory of its own."""
        import torch

        if device.type != "cpu" or dtype not in (None, torch.float32):  # elsewhere PyTorch itself keeps memory
            return torch.empty(shape, device=device, dtype=dtype)
        size = math.prod(shape)
        with self._lock:
            idle = [n for n, (block, user) in enumerate(self._blocks) if user() is None and block.numel() >= size]
            if idle:
                block, _ = self._blocks.pop(idle[-1])  # the last used may still be in the processor's cache
            else:  # and what is too small is of no more use
                self._blocks = [(each, user) for each, user in self._blocks if user() is not None]
                block = torch.empty(size)
            values = block.numpy()[:size]  # every tensor on this memory refers to this array
            self._blocks.append((block, weakref.ref(values)))
        return torch.from_numpy(values).view(shape)
