"""Budgets: how they are written, and what they buy first."""

from __future__ import annotations

import re

from far.errors import ConfigError
from orchestrator.estimate.estimate import Quote, makespan
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.study.schema import BudgetConfig

UNITS = {"gpuh": "gpu_hours", "h": "hours", "min": "hours", "d": "hours", "trials": "trials"}


def parse_budget(text: str) -> BudgetConfig:
    """Read ``40gpuh`` (device-hours), ``90min``, ``8h``, ``2d`` (wall clock) or ``12trials``.

    Raises:
        ConfigError: it is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
    unit = match[2] if match else None
    if match is None or unit not in UNITS or (unit == "trials" and "." in match[1]) or not float(match[1]):
        raise ConfigError(
            f"'{text}' is not a budget", key="--budget", choices=["40gpuh", "8h", "90min", "2d", "12trials"]
        )
    amount = float(match[1]) * {"min": 1 / 60, "d": 24.0}.get(unit, 1.0)
    return BudgetConfig.model_validate({UNITS[unit]: int(amount) if unit == "trials" else amount})


def purchase_order(plan: Plan) -> list[PlannedTrial]:
    """Return what is left to run, most useful first: a whole table with one seed before any second seed,
    and the baselines, which every comparison needs, before the other rows."""
    baselines = {(study.name, study.baseline) for study in plan.studies}
    place = {
        (study.name, row.name, seed): i
        for study in plan.studies
        for row in study.rows
        for i, seed in enumerate(study.seeds_of(row))
    }
    rank: dict[str, tuple[int, int]] = {}
    for trial in plan.trials:
        own = (place[trial.study, trial.row, trial.seed], (trial.study, trial.row) not in baselines)
        rank[trial.key] = min(rank.get(trial.key, own), own)
    return sorted(plan.missing(), key=lambda trial: rank[trial.key])


def afford(plan: Plan, prices: Quote, budget: BudgetConfig) -> list[PlannedTrial]:
    """Return the trials that a budget buys, in the order in which they should run; it stops at the first too dear.

    Trials without a price count as free of device-hours but not of places; limits that are not set do not bind.
    """
    bought: list[PlannedTrial] = []
    hours, seconds = 0.0, []
    for trial in purchase_order(plan):
        price = prices.prices.get(trial.key)
        hours += price.device_hours if price else 0.0
        seconds.append(price.seconds if price else 0.0)
        if budget.trials is not None and len(bought) + 1 > budget.trials:
            break
        if budget.gpu_hours is not None and hours > budget.gpu_hours * (1 + 1e-9):
            break
        if budget.hours is not None and makespan(seconds, prices.at_once) > budget.hours * 3600 * (1 + 1e-9):
            break
        bought.append(trial)
    return bought
