"""Statistics of a study: rows compared by video and by shared seed, in one analysis (see ``docs/statistics.md``)."""

from reports.statistics.outcomes import Outcomes, stack
from reports.statistics.paired import Components, Difference, count_pairs, mcnemar
from reports.statistics.power import Design, assumed, detectable, power, seeds_needed, seeds_range
from reports.statistics.study import compare_pairs, seed_variances
from reports.statistics.verdicts import Verdict, adjust, holm, level_of_look, stars, verdict

__all__ = [
    "Components",
    "Design",
    "Difference",
    "Outcomes",
    "Verdict",
    "adjust",
    "assumed",
    "compare_pairs",
    "count_pairs",
    "detectable",
    "holm",
    "level_of_look",
    "mcnemar",
    "power",
    "seed_variances",
    "seeds_needed",
    "seeds_range",
    "stack",
    "stars",
    "verdict",
]
