"""Further augmentation of training clips, by the names in ``recipe.augment.also``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from far.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

AUGMENTATIONS: Registry[Callable[[Tensor, np.random.Generator], Tensor]] = Registry(
    "augmentation", "recipe.augment.also"
)
"""Each maps a uint8 clip (3, T, H, W), cropped and flipped, to one of the same shape; its draws are its own."""
