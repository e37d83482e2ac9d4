"""Where a search is kept: Optuna's journal in the store, one entry a proposal, readable while the search runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage

from far.config import resolve
from far.store.atomic import storage_errors
from orchestrator.search.journal import Journal, mend
from orchestrator.store.store import Store
from orchestrator.study import Study
from orchestrator.study.schema import SearchConfig
from orchestrator.study.search_methods import PRUNERS, SAMPLERS


def open_search(study: Study, store: Store) -> optuna.Study:
    """Return the study's search, made now if there is none.

    A change of the space, the objectives or the base is another search: its values would not be comparable.

    Raises:
        StorageFullError: there is no room to make or mend its journal.
        DataError: the journal is damaged beyond what a cut-off line is.
    """
    path = store.study(study.name).search
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        mend(path)
    found = find_search(study, store)
    if found is not None:
        return found
    assert study.search is not None
    with storage_errors(path):
        storage = _storage(path)
    return optuna.create_study(
        storage=storage,
        study_name=_name(study),
        directions=[objective.direction for objective in study.search.objectives],
        load_if_exists=True,
    )


def find_search(study: Study, store: Store) -> optuna.Study | None:
    """Return the study's search if it was ever begun.

    Raises:
        DataError: the journal is damaged beyond what a cut-off line is.
    """
    path = store.study(study.name).search
    if not path.exists():
        return None
    with contextlib.suppress(OSError):  # a store that can only be read: Optuna overlooks a torn last line
        mend(path)
    try:
        return optuna.load_study(storage=_storage(path), study_name=_name(study))
    except KeyError:
        return None


def _storage(path: Path) -> JournalStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").propagate = False
    return JournalStorage(Journal(str(path)))


def _name(study: Study) -> str:
    return f"{study.profile.name}-{_digest(study)}"


def sampler(search: SearchConfig, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of one proposal, seeded by its number: a restarted search must not repeat itself."""
    proposals: optuna.samplers.BaseSampler = SAMPLERS[search.sampler](
        (search.seed * 1_000_003 + number) % 2**32, search.trials
    )
    return proposals


def pruner(search: SearchConfig) -> optuna.pruners.BasePruner:
    """Return what decides whether a trial is stopped early."""
    make = PRUNERS[search.pruner].make
    return optuna.pruners.NopPruner() if make is None else make()


def _digest(study: Study) -> str:
    assert study.search is not None
    what: dict[str, Any] = study.search.model_dump(mode="json", exclude={"trials", "sampler", "pruner", "seed"})
    base = resolve(list(study.base))
    what["base"] = base.counted(exclude={"run"})  # a setting that came later makes no other search
    what["base"]["model"].setdefault("network", base.model.network)  # it was there before any setting came later
    what["seed"] = study.seeds[0]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
