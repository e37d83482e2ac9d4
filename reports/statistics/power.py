"""How many seeds a claim takes: power of the study's test by number of rows, seeds and videos."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from reports.statistics.paired import Components, Difference
from reports.statistics.study import PSEUDO, SIZE, borrowed_df

MOST_SEEDS = 1000
GOAL = 0.8
STEPS = 10_000
"""Parts of a percentage point to which a detectable difference is told."""
SURE = 0.8
"""Confidence of the range of seeds that a claim would take."""


@dataclass(frozen=True)
class Design:
    """A comparison before it is made.

    Attributes:
        components: variances in fractions, e.g. of a finished study or ``assumed``.
        videos: in the validation set.
        rows: of the study; all inform the variance between seeds.
        level: of the two-sided test.
    """

    components: Components
    videos: int
    rows: int = 2
    level: float = SIZE

    def se_and_df(self, seeds: int) -> tuple[float, float]:
        """Standard error of a difference over so many seeds, as a fraction, and degrees of freedom of its test."""
        own = self.components.for_planning()
        of_seeds = (own.seed + own.noise / self.videos) / seeds
        of_videos = own.video / self.videos + PSEUDO / self.videos**2
        variance = of_seeds + of_videos
        share = of_seeds / variance
        df = 1 / (share / borrowed_df(self.rows, seeds) + (1 - share) / max(self.videos - 1, 1))
        return float(np.sqrt(variance)), df


def power(difference: float, design: Design, seeds: int) -> float:
    """Probability that the test finds a true difference.

    Args:
        difference: in percentage points.
        design: of the comparison.
        seeds: shared seeds of the two rows, at least 2.
    """
    se, df = design.se_and_df(seeds)
    shift = abs(difference) / 100 / se
    limit = float(special.stdtrit(df, 1 - design.level / 2))
    tails = special.nctdtr(df, [shift, -shift], [limit, limit])
    if not np.all(np.isfinite(tails)):  # the non-central t overflows far out, where it is normal or the power is 1
        tails = special.ndtr([limit - shift, limit + shift])
    return float(np.clip(2 - tails.sum(), 0, 1))


def power_equal(margin: float, design: Design, seeds: int) -> float:
    """Probability that two one-sided tests find a true difference of 0 to be within a margin (percentage points)."""
    se, df = design.se_and_df(seeds)
    reach = margin / 100 / se - float(special.stdtrit(df, 1 - design.level))
    return float(np.clip(2 * special.stdtr(df, reach) - 1, 0, 1))


def seeds_needed(difference: float, design: Design, *, goal: float = GOAL) -> int | None:
    """Smallest number of seeds (at least 2) whose power reaches the goal; None if no number does.

    The videos' own part of the variance does not shrink with seeds: a difference can be out of reach of a data set.
    """
    return _smallest(lambda seeds: power(difference, design, seeds), goal)


def seeds_for_equal(margin: float, design: Design, *, goal: float = GOAL) -> int | None:
    """Smallest number of seeds that shows a true difference of 0 to be within a margin; None if no number does."""
    return _smallest(lambda seeds: power_equal(margin, design, seeds), goal)


def seeds_range(found: Difference, *, rows: int, level: float, comparisons: int = 1) -> tuple[int | None, int | None]:
    """Range of the number of seeds that it takes to show a difference, as far as what was found so far tells.

    The ends are those of the difference's 80 % interval, with the variances as estimated: the least is what the largest
    difference in it takes alone, the most what the smallest takes in a table of so many comparisons.

    Args:
        found: the difference so far; at least two seeds.
        rows: of the study.
        level: of the look at those seeds.
        comparisons: in the table.

    Returns:
        Least and most; None: no number of seeds is enough.
    """
    assert found.components is not None
    half = float(special.stdtrit(found.df, (1 + SURE) / 2)) * found.se
    largest, smallest = abs(found.mean) + half, max(abs(found.mean) - half, 0.0)
    alone = Design(found.components, found.videos, rows, level)
    together = Design(found.components, found.videos, rows, level / comparisons)
    return seeds_needed(largest, alone), seeds_needed(smallest, together) if smallest else None


def seed_variance_range(design: Design, seeds: int) -> tuple[Design, Design]:
    """Return a design at the ends of the 80 % interval of its variance between seeds, as estimated from so many."""
    df = borrowed_df(design.rows, seeds)
    own, noise = design.components, design.components.noise / design.videos
    ends = special.chdtri(df, [(1 - SURE) / 2, (1 + SURE) / 2])  # upper quantiles: the largest makes the least variance
    low, high = (replace(own, seed=max((own.seed + noise) * df / float(end) - noise, 0.0)) for end in ends)
    return replace(design, components=low), replace(design, components=high)


def detectable(design: Design, seeds: int, *, goal: float = GOAL) -> float:
    """Smallest difference, in percentage points, that is found with probability ``goal``; it may exceed 100."""
    return _smallest_points(lambda difference: power(difference, design, seeds), goal)


def detectable_margin(design: Design, seeds: int, *, goal: float = GOAL) -> float:
    """Smallest margin, in percentage points, within which a true difference of 0 is shown with probability ``goal``."""
    return _smallest_points(lambda margin: power_equal(margin, design, seeds), goal)


def assumed(seed_sd: float, disagreement: float, *, stable: float = 0.2) -> Components:
    """Components from quantities that are easier to guess than variances.

    Args:
        seed_sd: standard deviation over seeds of one row's true accuracy, in points.
        disagreement: share of videos, in percent, that exactly one of two models of the same seed answers.
        stable: share of the disagreement in excess of that between two seeds of one recipe: it recurs with every
            seed, so that more seeds do not average it out.
    """
    d = disagreement / 100
    return Components(seed=2 * (seed_sd / 100) ** 2, video=stable * d, noise=(1 - stable) * d)


def _smallest(reached: Callable[[int], float], goal: float) -> int | None:
    needed = 2 + bisect_left(range(2, MOST_SEEDS + 1), goal, key=reached)
    return needed if needed <= MOST_SEEDS else None


def _smallest_points(reached: Callable[[float], float], goal: float) -> float:
    most = 1
    while reached(most) < goal:
        most *= 2
    return bisect_left(range(most * STEPS), goal, key=lambda steps: reached(steps / STEPS)) / STEPS
