"""Drop path (stochastic depth) as numbers, keyed by seed, epoch, sample, block and branch, never by call
order.

The trainer draws the factors of a micro-batch and hands them to ``forward``::

    keep = keep_factors(config.model, seed=seed, epoch=epoch, samples=ids)   # None where nothing is dropped
    logits = net(clips, keep=keep)

A sample's fate depends on its own key alone: it is the same for any micro-batch, number of devices or
accumulation, after a resume, and in every row that shares the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from far.config.trial import ModelConfig
from far.randomness import numpy_rng

if TYPE_CHECKING:
    import torch

BRANCHES: tuple[str, ...] = ("attention", "mlp", "interaction")
"""The residual branches of a block, in the order of the factors' last axis."""


def rates(model: ModelConfig) -> np.ndarray:
    """Return each block's drop rate, shape (depth,): from 0 to ``model.drop_path``, linearly."""
    return np.linspace(0, model.drop_path, model.sizes[1])


def keep_factors(
    model: ModelConfig,
    *,
    seed: int,
    epoch: int,
    samples: Sequence[object],
    device: str | torch.device = "cpu",
) -> torch.Tensor | None:
    """Draw the factors by which each residual branch is multiplied: 0, or 1 / (1 - rate).

    Args:
        model: the network's configuration; its drop rate grows linearly from 0 in the first block.
        seed: the trial's seed.
        epoch: the epoch, so that a sample's draw changes.
        samples: what names each sample of the micro-batch within the epoch, e.g. ``(video, copy)``; by its
            ``str``.
        device: where the factors are needed.

    Returns:
        float32, shape (samples, depth, branches), or None if the drop rate is 0.
    """
    import torch

    if model.drop_path == 0:
        return None
    rate = rates(model)[:, None]
    shape = (len(rate), len(BRANCHES))
    draws = np.stack([numpy_rng(seed, "drop-path", epoch, sample).random(shape) for sample in samples])
    keep = np.where(draws < rate, 0.0, 1.0 / np.maximum(1.0 - rate, 1e-12))
    return torch.from_numpy(keep.astype(np.float32)).to(device)
