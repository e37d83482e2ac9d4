"""How a search proposes trials and stops them early: Optuna's samplers and pruners, by the names of a study file.

Optuna is imported when one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from far.registry import Registry

LARGEST_POPULATION = 50
"""Of NSGA-II; a short search gets a quarter of its trials."""

SAMPLERS: Registry[Callable[[int, int], Any]] = Registry("search sampler", "search.sampler")
"""Each returns an ``optuna.samplers.BaseSampler`` from the seed of one proposal and the number of trials in all."""


@SAMPLERS.register("tpe")
def tpe(seed: int, trials: int) -> Any:
    """Tree-structured Parzen estimator."""
    from optuna.samplers import TPESampler

    # Other trials are under way when one is proposed: without the liar, TPE would propose their neighbours.
    startup = max(3, min(10, trials // 3))
    return TPESampler(seed=seed, constant_liar=True, multivariate=False, n_startup_trials=startup)


@SAMPLERS.register("nsga2")
def nsga2(seed: int, trials: int) -> Any:
    """Genetic search, for several objectives."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(population_size=max(4, min(LARGEST_POPULATION, trials // 4)), seed=seed)


@SAMPLERS.register("random")
def random(seed: int, trials: int) -> Any:
    """Uniform draws."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


@dataclass(frozen=True)
class Pruner:
    """What stops a trial early.

    Attributes:
        make: returns an ``optuna.pruners.BasePruner``; None: nothing is stopped.
    """

    make: Callable[[], Any] | None


def _asha() -> Any:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


def _median() -> Any:
    from optuna.pruners import MedianPruner

    return MedianPruner(n_startup_trials=3, n_warmup_steps=1)


PRUNERS: Registry[Pruner] = Registry("pruner", "search.pruner")
PRUNERS.register("none")(Pruner(None))
PRUNERS.register("asha")(Pruner(_asha))
PRUNERS.register("median")(Pruner(_median))
