"""Optimisers and schedules of the learning rate, by the names of the recipe section. No torch until one is built."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar

from far.registry import Registry, named

if TYPE_CHECKING:
    from far.config.recipe import RecipeConfig


class Optimizer(ABC):
    """A kind of optimiser.

    Attributes:
        builder: ``"module:name"`` of its class.
        reads: settings of the recipe that only some optimisers read, by dotted key.
    """

    builder: ClassVar[str] = ""
    reads: ClassVar[Collection[str]] = ()

    @abstractmethod
    def build(self, groups: list[dict[str, Any]], recipe: RecipeConfig) -> Any:
        """Return a ``torch.optim.Optimizer`` over groups of parameters, whose rates the schedule sets at each step."""


class AdamW(Optimizer):
    """PyTorch's own AdamW, which needs no build."""

    builder = "torch.optim:AdamW"
    reads = ("recipe.betas",)

    def build(self, groups: list[dict[str, Any]], recipe: RecipeConfig) -> Any:
        """See :meth:`Optimizer.build`."""
        return named(self.builder)(groups, lr=recipe.lr, betas=tuple(recipe.betas), eps=1e-8)


OPTIMIZERS: Registry[Optimizer] = Registry("optimiser", "recipe.optimizer")
OPTIMIZERS.register("adamw")(AdamW())

SCHEDULES: Registry[Callable[[float], float]] = Registry("schedule", "recipe.schedule")
"""Each maps the progress after the warm-up, in [0, 1], to the share that is left of the way from ``min_lr`` to ``lr``.
"""


@SCHEDULES.register("cosine")
def cosine(progress: float) -> float:
    """Half a cosine, as in the ancestors."""
    return 0.5 * (1 + math.cos(math.pi * progress))
