"""Statistics of paired comparisons: by video and by shared seed (see ``docs/reports.md``)."""

from reports.statistics.multiple import holm
from reports.statistics.outcomes import Outcomes, stack
from reports.statistics.paired import MIN_SEEDS, Components, Difference, compare, mcnemar
from reports.statistics.power import detectable, power, seeds_needed

__all__ = [
    "MIN_SEEDS",
    "Components",
    "Difference",
    "Outcomes",
    "compare",
    "detectable",
    "holm",
    "mcnemar",
    "power",
    "seeds_needed",
    "stack",
]
