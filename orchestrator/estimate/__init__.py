"""What a plan costs before it runs: seconds, GPU-hours, memory, disk, and what a budget buys first."""

from orchestrator.estimate.budget import afford, parse_budget
from orchestrator.estimate.devices import CARDS, Target, find_target
from orchestrator.estimate.estimate import Price, Quote, quote

__all__ = ["CARDS", "Price", "Quote", "Target", "afford", "find_target", "parse_budget", "quote"]
