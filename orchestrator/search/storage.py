"""Where a search is kept: Optuna's journal in the store, one entry a proposal, readable while the search runs."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from far.config import resolve
from orchestrator.store import Store
from orchestrator.study import Study
from orchestrator.study.schema import SearchConfig

LARGEST_POPULATION = 50
"""Of NSGA-II; a short search gets a quarter of its trials."""


def open_search(study: Study, store: Store) -> optuna.Study:
    """Return the study's search, made now if there is none.

    A change of the space, the objectives or the base is another search: its values would not be comparable.
    """
    assert study.search is not None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").propagate = False
    path = store.study(study.name).search
    path.parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=f"{study.profile.name}-{_digest(study)}",
        directions=[objective.direction for objective in study.search.objectives],
        load_if_exists=True,
    )


def sampler(search: SearchConfig, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of one proposal, seeded by its number: a restarted search must not repeat itself."""
    seed = (search.seed * 1_000_003 + number) % 2**32
    if search.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(
            population_size=max(4, min(LARGEST_POPULATION, search.trials // 4)), seed=seed
        )
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # Other trials are under way when one is proposed: without the liar, TPE would propose their neighbours.
    return optuna.samplers.TPESampler(
        seed=seed, constant_liar=True, multivariate=False, n_startup_trials=max(3, min(10, search.trials // 3))
    )


def pruner(search: SearchConfig) -> optuna.pruners.BasePruner:
    """Return what decides whether a trial is stopped early."""
    if search.pruner == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
    return optuna.pruners.NopPruner()


def _digest(study: Study) -> str:
    assert study.search is not None
    what: dict[str, Any] = study.search.model_dump(mode="json", exclude={"trials", "sampler", "pruner", "seed"})
    what["base"] = resolve(list(study.base)).model_dump(mode="json", exclude={"run"})
    what["seed"] = study.seeds[0]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
