"""Learning rate by optimiser step: linear warm-up from 0, then the decay of the recipe.

The ancestors' rules (VideoMAE ``utils.py:385-405``): rates scale with the batch in videos; the warm-up reaches the
full rate at its last step; each parameter group's rate is the step's value times the group's ``lr_scale``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from far.config.optimization import SCHEDULES, cosine
from far.config.trial import RecipeConfig


@dataclass(frozen=True)
class Schedule:
    """Rates over a whole training run.

    Attributes:
        peak: the scaled learning rate at the end of warm-up.
        floor: the scaled rate that it decays towards.
        warmup_steps: optimiser steps of warm-up.
        total_steps: optimiser steps of the run.
        decay: maps the progress after the warm-up to the share of the way from floor to peak that is left.
    """

    peak: float
    floor: float
    warmup_steps: int
    total_steps: int
    decay: Callable[[float], float] = cosine

    @classmethod
    def of(cls, recipe: RecipeConfig, steps_per_epoch: int) -> Schedule:
        """Return the schedule of a recipe; both rates scale with the batch of videos."""
        factor = recipe.batch_size / recipe.lr_reference_batch
        return cls(
            peak=recipe.lr * factor,
            floor=recipe.min_lr * factor,
            warmup_steps=int(recipe.warmup_epochs * steps_per_epoch),
            total_steps=recipe.epochs * steps_per_epoch,
            decay=SCHEDULES[recipe.schedule],
        )

    def rate(self, step: int) -> float:
        """Return the rate of one optimiser step, counted from 0."""
        if step < self.warmup_steps:
            return self.peak * step / max(self.warmup_steps - 1, 1)
        progress = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        return self.floor + (self.peak - self.floor) * self.decay(progress)
