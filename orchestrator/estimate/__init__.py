"""What a plan costs before it runs: seconds, GPU-hours, memory, disk, and what fits into a budget."""

from orchestrator.estimate.devices import CARDS, Target, find_target
from orchestrator.estimate.estimate import CostEstimate, TrialCost, estimate_plan, parse_budget, select_within_budget

__all__ = [
    "CARDS",
    "CostEstimate",
    "Target",
    "TrialCost",
    "estimate_plan",
    "find_target",
    "parse_budget",
    "select_within_budget",
]
