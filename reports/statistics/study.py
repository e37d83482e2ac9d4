"""One analysis for all rows, seeds and videos of a study.

Model: for a pair of rows, seed s and video v, d_sv = delta + a_s + b_v + e_sv, where d is 1, 0 or -1: which of the two
networks alone is right. delta is what the recipe is worth for new seeds and new videos of the same kind. The mean of d
has variance A / n + B / V. B, of b_v over the videos, is known well: thousands of videos speak for it. A, of the seeds'
means, has only n - 1 degrees of freedom of its own, so it is *moderated*: each row's variance between seeds is shrunk
towards that of the other rows of the study, as limma does over genes (Smyth, *Statistical Applications in Genetics and
Molecular Biology* 3, 2004), and less so the less a row looks like the others (robust empirical Bayes; Phipson et al.,
*Annals of Applied Statistics* 10, 2016). Test, interval, equivalence test, power and the seeds that a claim takes all
rest on this one standard error and its degrees of freedom, so that an interval excludes 0 exactly where p < 0.05.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reports.statistics.outcomes import Outcomes
from reports.statistics.paired import Components, Difference, PairedCounts, count_pairs, mcnemar

PRIOR_DF = 12
"""At most so many degrees of freedom are borrowed from the other rows: rows of a study are alike, never identical."""
DOUBT = 0.2
"""A row that departs from the others with a p below this borrows proportionally less."""
ENOUGH = 100
"""Seeds beyond which a row knows its own variance."""
FEW = 10
"""Below so many videos with any difference the exact test over videos has the last word."""
PSEUDO = 2.0
"""Videos with a difference of either sign that are added to the variance: no interval has width 0 (Agresti and Min,
*Statistics in Medicine* 24, 2005)."""
SIZE = 0.05
"""What p is compared with. The level of a look is less: p is scaled up by their ratio, and intervals are wider."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class SeedVariance:
    """A row's variance of accuracy between seeds, beyond what a seed does to all rows alike.

    Attributes:
        value: moderated, in squared fractions; it includes the noise of a finite number of videos.
        df: degrees of freedom behind it.
        departs: p of a row with this variance among rows like the others.
    """

    value: float
    df: float
    departs: float


def compare_pairs(
    rows: Mapping[str, Outcomes],
    pairs: Sequence[Pair],
    *,
    margin: float | None = None,
    level: float = SIZE,
    spread: Mapping[str, SeedVariance] | None = None,
) -> dict[Pair, Difference]:
    """Compare pairs of rows in one analysis.

    Args:
        rows: every row of the study, by name; all of them inform the variances.
        pairs: (row, reference) of each comparison; those that share no seed are left out of the answer.
        margin: in percentage points; a difference below it counts as none. None: equality is not tested.
        level: of this look: p values are scaled by 0.05 / level, intervals cover 1 - level.
        spread: of ``seed_variances``, where it is known already.

    Returns:
        Row minus reference, in percentage points.

    Raises:
        DataError: rows have different videos, and the lists of these cannot be read.
    """
    spread = seed_variances(rows) if spread is None else spread
    found = {}
    for row, reference in pairs:
        counts = count_pairs(rows[row], rows[reference])
        if counts is not None:
            found[row, reference] = _difference(counts, spread.get(row), spread.get(reference), margin, level)
    return found


def seed_variances(rows: Mapping[str, Outcomes]) -> dict[str, SeedVariance]:
    """Return the moderated variance between seeds of each row with two seeds or more.

    None where fewer than three rows have as many, and where there are so many seeds that nothing needs to be borrowed.
    """
    names = [name for name, row in rows.items() if len(row.correct) >= 2]
    seeds = sorted({seed for name in names for seed in rows[name].correct})
    if len(names) < 3 or len(seeds) > ENOUGH:
        return {}
    accuracy = np.full((len(names), len(seeds)), np.nan)
    for i, name in enumerate(names):
        row = rows[name]
        videos = max(row.expected, len(row.ids), 1)
        for seed, correct in row.correct.items():
            accuracy[i, seeds.index(seed)] = np.count_nonzero(correct) / videos
    every = _Fit.of(accuracy)
    found = {}
    for i, name in enumerate(names):
        own = accuracy[i : i + 1]
        one = _moderated(own[0], every.without(_Fit.of(own)))
        if one is not None:
            found[name] = one
    return found


def borrowed_df(rows: int, seeds: int) -> float:
    """Return the degrees of freedom of a difference's variance between seeds, in a study of rows alike."""
    return seeds - 1 + (min((rows - 2) * (seeds - 1), PRIOR_DF) if rows > 2 else 0)


@dataclass(frozen=True)
class _Fit:
    """Least squares of accuracies by row and seed, some of which may not be there: sums that rows are taken out of.

    Attributes:
        normal: normal equations of the seeds' effects once those of the rows are swept out, shape (seeds, seeds).
        right: their right side, shape (seeds,).
        squares: sum of squares within rows.
        times: rows that have a seed, shape (seeds,).
        free: cells less rows.
    """

    normal: NDArray[np.float64]
    right: NDArray[np.float64]
    squares: float
    times: NDArray[np.int64]
    free: int

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> _Fit:
        """Sum over rows of accuracies, shape (rows, seeds), NaN where there is none."""
        there = ~np.isnan(values)
        number = there.sum(axis=1)
        centred = np.where(there, values - np.nanmean(values, axis=1, keepdims=True), 0.0)
        shares = there / np.sqrt(number)[:, None]
        normal = np.diag(there.sum(axis=0)) - shares.T @ shares
        free = int(number.sum()) - len(values)
        return cls(normal, centred.sum(axis=0), float((centred**2).sum()), there.sum(axis=0), free)

    def without(self, row: _Fit) -> _Fit:
        """Take a row out."""
        return _Fit(
            self.normal - row.normal,
            self.right - row.right,
            self.squares - row.squares,
            self.times - row.times,
            self.free - row.free,
        )

    def solve(self) -> tuple[NDArray[np.float64], float, int]:
        """Return the seeds' effects, the residual sum of squares and its degrees of freedom."""
        inverse = np.linalg.pinv(self.normal, rcond=1e-9, hermitian=True)
        effects = inverse @ self.right
        rank = round(float(np.trace(inverse @ self.normal)))
        return effects, max(self.squares - float(self.right @ effects), 0.0), self.free - rank


def _moderated(own: NDArray[np.float64], others: _Fit) -> SeedVariance | None:
    """Shrink the variance of one row's accuracies, shape (seeds,), towards that of the others."""
    of_seeds, residual, df_others = others.solve()
    if df_others < 1:
        return None
    pooled = _rounded(residual / df_others)
    shared = ~np.isnan(own) & (others.times > 0)
    df_own = int(shared.sum()) - 1
    if df_own < 1:
        return SeedVariance(pooled, float(min(df_others, PRIOR_DF)), 1.0)
    # What a seed does to all rows is estimated from the others, each of whose seeds has so many rows behind it.
    alone = own[shared] - of_seeds[shared]
    borrowed = pooled * float((1 / others.times[shared]).mean())
    raw = _rounded(float(alone.var(ddof=1)))
    if pooled + borrowed > 0:
        departs = float(special.fdtrc(df_own, df_others, raw / (pooled + borrowed)))
    else:
        departs = 0.0 if raw > 0 else 1.0
    df_prior = min(df_others, PRIOR_DF) * min(1.0, departs / DOUBT)
    value = (df_prior * pooled + df_own * max(raw - borrowed, 0.0)) / (df_prior + df_own)
    return SeedVariance(value, df_prior + df_own, departs)


def _rounded(variance: float) -> float:
    """Take what is left over by arithmetic for nothing: one video in a million, in one seed, makes 1e-12."""
    return variance if variance > 1e-16 else 0.0


def _difference(
    counts: PairedCounts,
    row: SeedVariance | None,
    reference: SeedVariance | None,
    margin: float | None,
    level: float,
) -> Difference:
    n, videos = len(counts.seeds), counts.videos
    by_seed = (counts.gained - counts.lost) / videos
    mean = float(by_seed.mean())
    both = zip(counts.gained.tolist(), counts.lost.tolist(), strict=True)
    shown: dict[str, Any] = {
        "mean": 100 * mean,
        "counts": dict(zip(counts.seeds, both, strict=True)),
        "per_seed": dict(zip(counts.seeds, (100 * by_seed).tolist(), strict=True)),
        "mcnemar": dict(zip(counts.seeds, mcnemar(counts.gained, counts.lost).tolist(), strict=True)),
        "videos": videos,
    }
    if n == 1:
        se = float(np.sqrt(max(counts.video_variance, 0.0) / videos))
        return Difference(**shown, interval=None, p=None, p_equal=None, se=100 * se, df=np.inf, components=None)
    noise, video = counts.noise, counts.video
    between, df_between = _between(by_seed, noise / videos, row, reference)
    of_seeds = between / n
    of_videos = video / videos + PSEUDO / videos**2
    variance = of_seeds + of_videos
    df = 1 / (of_seeds / variance / df_between + of_videos / variance / max(videos - 1, 1))
    se = float(np.sqrt(variance))
    p = 2 * float(special.stdtr(df, -abs(mean) / se))
    p, se = _exact_where_few(counts.by_video, mean, p, se, df)
    half = float(special.stdtrit(df, 1 - level / 2)) * se
    equal = None if margin is None else float(special.stdtr(df, (abs(mean) - margin / 100) / se))
    return Difference(
        **shown,
        interval=(100 * (mean - half), 100 * (mean + half)),
        p=_scaled(p, level),
        p_equal=None if equal is None else _scaled(equal, level),
        se=100 * se,
        df=df,
        components=Components(between - noise / videos, video, noise),
    )


def _scaled(p: float, level: float) -> float:
    return min(1.0, p * SIZE / level)


def _between(
    by_seed: NDArray[np.float64], least: float, row: SeedVariance | None, reference: SeedVariance | None
) -> tuple[float, float]:
    """Return the variance of a seed's mean difference, and its degrees of freedom.

    Args:
        by_seed: mean differences, shape (seeds,).
        least: what the noise of the videos alone makes of it; every network is redrawn for each seed and video, so
            that between seeds nothing varies less.
        row, reference: moderated variances; None: the difference's own is all there is.
    """
    if row is None or reference is None:
        return max(float(by_seed.var(ddof=1)), least), float(len(by_seed) - 1)
    value = row.value + reference.value
    parts = row.value**2 / row.df + reference.value**2 / reference.df
    # Satterthwaite's, but both rows borrow from the same others: no more than either has.
    most = max(row.df, reference.df)
    return max(value, least), (min(value**2 / parts, most) if parts > 0 else most)


def _exact_where_few(by_video: NDArray[np.int32], mean: float, p: float, se: float, df: float) -> tuple[float, float]:
    """Where few videos differ at all, return no smaller p than the exact sign test's over them, and an se to match.

    Args:
        by_video: sum of the differences over seeds, shape (videos,).
    """
    if np.count_nonzero(by_video) > FEW:
        return p, se
    gained, lost = np.count_nonzero(by_video > 0), np.count_nonzero(by_video < 0)
    least = float(mcnemar(np.array(gained), np.array(lost)))
    if p >= least or mean == 0 or least >= 1.0:
        return max(p, least), se
    return least, abs(mean) / float(-special.stdtrit(df, least / 2))
