"""What a study's search has found, read from its journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.search.analysis import SearchResults
    from orchestrator.store.store import Store
    from orchestrator.study import Study


@dataclass(frozen=True)
class SearchFindings:
    """A search and how much each setting mattered, by both evaluators."""

    found: SearchResults
    importances: dict[str, dict[str, dict[str, float]]]
    """Share of the variance by evaluator, objective and setting."""


def read_search(study: Study, store: Store) -> SearchFindings | None:
    """Return what a study's search has found so far; None if it has none or none was begun."""
    if study.search is None or not store.study(study.name).search.exists():
        return None
    from orchestrator.search.analysis import results

    ped, fanova = (results(study, store, evaluator) for evaluator in ("ped-anova", "fanova"))
    return SearchFindings(ped, {"PED-ANOVA": ped.importances, "fANOVA": fanova.importances})
