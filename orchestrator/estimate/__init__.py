"""What a plan costs before it runs: seconds, GPU-hours, memory, disk, and what a budget buys first."""

from orchestrator.estimate.devices import CARDS, Target, find_target
from orchestrator.estimate.estimate import Price, Quote, afford, parse_budget, quote

__all__ = ["CARDS", "Price", "Quote", "Target", "afford", "find_target", "parse_budget", "quote"]
