"""The difference between two rows, paired by video and by shared seed.

Model: for seed s and video v, d_sv = delta + a_s + b_v + e_sv, where d is 1, 0 or -1: which of the two models alone
answers correctly. delta is what the recipe is worth, for new seeds and for new videos of the same kind. The mean of
d has the variance A + B: A is that of the seeds' means over the number of seeds (and holds the noise e), B is that
of b_v over the number of videos, by the two-way analysis of variance without replication (Searle, Casella and
McCulloch, *Variance Components*, 1992, chapter 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from far.randomness import numpy_rng
from reports.statistics.outcomes import Outcomes, common

MIN_SEEDS = 3
"""Below this no claim of significance is made: with two seeds the test is liberal (its size reaches 0.1)."""

LEVEL = 0.95
REPLICATES = 4000
MOST_DRAWS = 400_000
"""Seeds drawn in all; hundreds of seeds need fewer replicates."""
Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Components:
    """Variance of a paired difference, in fractions: what power calculations need.

    Attributes:
        seed: of a_s; as estimated it may be negative.
        video: of b_v, a video's expected difference.
        noise: of e_sv, drawn anew for every seed and video.
    """

    seed: float
    video: float
    noise: float

    def of_seed_mean(self, videos: int) -> float:
        """Variance between the mean differences of single seeds on the same videos."""
        return max(self.seed + self.noise / videos, 0.0)

    def of_mean(self, seeds: int, videos: int) -> float:
        """Variance of the mean difference over so many seeds and videos."""
        return self.of_seed_mean(videos) / seeds + self.video / videos

    def for_planning(self) -> Components:
        """The same with no variance below zero, to be used at other numbers of seeds and videos."""
        return Components(max(self.seed, 0.0), self.video, self.noise)


@dataclass(frozen=True)
class Difference:
    """Row minus baseline, in percentage points.

    Attributes:
        mean: over shared seeds and videos.
        interval: 95 % bootstrap interval; None with one seed, where only the videos vary.
        p: two-sided; None with one seed.
        df: degrees of freedom of the test.
        per_seed: the difference of each shared seed.
        mcnemar: exact p of each seed: whether these two trained models differ, whatever other seeds would do.
        lost, gained: videos that only the baseline, only the row answers, on average over seeds.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None
    se: float
    df: float
    per_seed: dict[int, float]
    mcnemar: dict[int, float]
    videos: int
    lost: float
    gained: float
    components: Components | None

    @property
    def seeds(self) -> int:
        """Number of shared seeds."""
        return len(self.per_seed)

    @property
    def claimable(self) -> bool:
        """Whether there are enough seeds for a claim of significance."""
        return self.seeds >= MIN_SEEDS


def compare(row: Outcomes, baseline: Outcomes, *, replicates: int = REPLICATES) -> Difference | None:
    """Compare two rows on the seeds and videos that they share.

    Returns:
        The difference, or None if they share no seed.
    """
    seeds, mine, theirs = common(row, baseline)
    if not seeds:
        return None
    d = mine.astype(np.int8) - theirs.astype(np.int8)
    per_seed = {seed: 100 * float(m) for seed, m in zip(seeds, d.mean(axis=1), strict=True)}
    exact = dict(zip(seeds, mcnemar(mine, theirs).tolist(), strict=True))
    lost, gained = float((d < 0).sum()) / len(seeds), float((d > 0).sum()) / len(seeds)
    mean = float(d.mean())
    base: dict[str, Any] = {
        "per_seed": per_seed,
        "mcnemar": exact,
        "videos": d.shape[1],
        "lost": lost,
        "gained": gained,
    }
    if len(seeds) == 1:
        se = float(d.std(ddof=1)) / np.sqrt(d.shape[1])
        return Difference(100 * mean, None, None, 100 * se, np.inf, components=None, **base)
    components = variance_components(d)
    variance, df = variance_and_df(components, *d.shape)
    se = float(np.sqrt(variance))
    p = 2 * float(special.stdtr(df, -abs(mean) / se)) if se > 0 else (1.0 if mean == 0 else 0.0)
    low, high = bootstrap_interval(d, components, df, replicates=replicates)
    return Difference(
        100 * mean,
        (100 * low, 100 * high),
        p,
        100 * se,
        df,
        components=components,
        **base,
    )


def variance_components(d: NDArray[np.int8]) -> Components:
    """Estimate the components from differences d of shape (seeds, videos), at least two seeds."""
    seeds, videos = d.shape
    by_seed, by_video = d.mean(axis=1), d.mean(axis=0)
    squares = float(np.einsum("sv,sv->", d, d, dtype=np.float64))  # without a copy of d in floating point
    mean = float(by_seed.mean())
    residual = squares - videos * float(by_seed @ by_seed) - seeds * float(by_video @ by_video)
    noise = max(residual + seeds * videos * mean**2, 0.0) / ((seeds - 1) * max(videos - 1, 1))
    video = float(by_video.var(ddof=1)) - noise / seeds if videos > 1 else 0.0
    return Components(float(by_seed.var(ddof=1)) - noise / videos, max(video, 0.0), noise)


def variance_and_df(components: Components, seeds: int, videos: int) -> tuple[float, float]:
    """Variance of the mean difference and the degrees of freedom of its t test.

    df = (seeds - 1) / share of the variance that comes from seeds: the ordinary t test over seeds where all of it
    does, the normal one where none does. Satterthwaite's df divides by the share squared and is liberal at
    few seeds (size 0.08 at three); this one keeps 0.03-0.07 from three seeds on (validated by simulation).
    """
    variance = components.of_mean(seeds, videos)
    share = components.of_seed_mean(videos) / seeds / variance if variance > 0 else 1.0
    return variance, (seeds - 1) / max(share, 1e-6)


def bootstrap_interval(
    d: NDArray[np.int8], components: Components, df: float, *, replicates: int, level: float = LEVEL
) -> tuple[float, float]:
    """Hierarchical bootstrap: seeds and videos are drawn anew, each with replacement.

    The two deviations are scaled to the unbiased components (a resample of n seeds has (n-1)/n of their variance, and
    each video's mean over seeds holds noise that is already in the seeds' part), and the percentiles are stretched
    by t/z ("expanded percentile interval"; Hesterberg, *The American Statistician* 69, 2015, section 5).
    """
    seeds, videos = d.shape
    rng = numpy_rng(0, "bootstrap", seeds, videos)
    replicates = min(replicates, max(1000, MOST_DRAWS // seeds))
    a = d.mean(axis=1) - d.mean()
    offsets = a[rng.integers(seeds, size=(replicates, seeds))].mean(axis=1) * np.sqrt(seeds / (seeds - 1))
    b = d.sum(axis=0, dtype=np.int64)
    values, counts = np.unique(b, return_counts=True)
    if len(values) < videos / 10:  # draw how many videos of each value, else the videos themselves
        sums = rng.multinomial(videos, counts / videos, size=replicates) @ values
    else:
        sums = b[rng.integers(videos, size=(replicates, videos))].sum(axis=1)
    drawn = sums / (seeds * videos) - d.mean()
    spread = float(b.var()) / seeds**2
    offsets += drawn * np.sqrt(components.video / spread if spread > 0 else 0.0)
    tail = (1 - level) / 2
    stretch = float(special.stdtrit(df, 1 - tail) / special.ndtri(1 - tail))
    low, high = np.quantile(offsets, [tail, 1 - tail])
    return float(d.mean() + stretch * low), float(d.mean() + stretch * high)


def mcnemar(mine: Bits, theirs: Bits) -> NDArray[np.float64]:
    """Exact two-sided p of McNemar's test of two models on the same videos.

    Args:
        mine: one model's answers, shape (..., videos).
        theirs: the other's, of the same shape.

    Returns:
        Shape (...).
    """
    gained, lost = (mine & ~theirs).sum(axis=-1), (theirs & ~mine).sum(axis=-1)
    discordant = gained + lost
    tail = special.bdtr(np.minimum(gained, lost), discordant, 0.5)
    return np.where(discordant, np.minimum(1.0, 2 * tail), 1.0)
