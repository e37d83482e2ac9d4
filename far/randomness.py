"""Common random numbers: every draw is keyed by what it is for, never by the order of calls.

Two rows of a study that share a seed then see the same clips, crops and mixes and share the initial values of
the modules they share; a resumed trial draws exactly what it would have drawn (``docs/structure.md``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def key_of(seed: int, *purpose: object) -> int:
    """Return a 63-bit integer that depends on the seed and on every part of the purpose.

    Args:
        seed: the trial's seed.
        purpose: what the draw is for, e.g. ``("augment", sample_id, epoch, view)``; each part by its ``str``.
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def numpy_rng(seed: int, *purpose: object) -> np.random.Generator:
    """Return a NumPy generator for one purpose."""
    return np.random.Generator(np.random.Philox(key_of(seed, *purpose)))


def torch_rng(seed: int, *purpose: object, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a torch generator on ``device`` for one purpose."""
    import torch

    return torch.Generator(device=device).manual_seed(key_of(seed, *purpose))
