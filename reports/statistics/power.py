"""How many seeds a claim takes: power of the paired test by number of seeds and of videos."""

from __future__ import annotations

import numpy as np
from scipy import special

from reports.statistics.paired import Components, variance_and_df

MOST_SEEDS = 1000


def power(difference: float, components: Components, seeds: int, videos: int, alpha: float = 0.05) -> float:
    """Probability that the test finds a true difference.

    Args:
        difference: in percentage points.
        components: variances in fractions, e.g. from a finished study or ``assumed``.
        seeds: shared seeds of the two rows, at least 2.
        videos: in the validation set.
        alpha: size of the two-sided test.
    """
    variance, df = variance_and_df(components.for_planning(), seeds, videos)
    if variance == 0:
        return 1.0 if difference else alpha
    shift = abs(difference) / 100 / np.sqrt(variance)
    limit = float(special.stdtrit(df, 1 - alpha / 2))
    tails = special.nctdtr(df, [shift, -shift], [limit, limit])
    if not np.all(np.isfinite(tails)):  # the non-central t overflows far out, where it is normal or the power is 1
        tails = special.ndtr([limit - shift, limit + shift])
    return float(np.clip(2 - tails.sum(), 0, 1))


def seeds_needed(
    difference: float, components: Components, videos: int, *, goal: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Smallest number of seeds (at least 2) whose power reaches the goal; None if no number does.

    The videos' own part of the variance does not shrink with seeds: a difference can be out of reach of a data set.
    """
    if power(difference, components, MOST_SEEDS, videos, alpha) < goal:
        return None
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if power(difference, components, middle, videos, alpha) >= goal else (middle + 1, high)
        )
    return low


def detectable(components: Components, seeds: int, videos: int, *, goal: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest difference, in percentage points, that is found with probability ``goal``."""
    from scipy import optimize  # slow to import, and tables do not need it

    found = optimize.brentq(lambda d: power(d, components, seeds, videos, alpha) - goal, 1e-6, 100.0, xtol=1e-4)
    return float(found)


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
