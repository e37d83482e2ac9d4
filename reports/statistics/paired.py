"""The difference between two rows, paired by video and by shared seed: counts, variance components, exact tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reports.statistics.outcomes import Outcomes, on_common_videos


@dataclass(frozen=True)
class Components:
    """Variance of a paired difference, in fractions: what power calculations need.

    Attributes:
        seed: of a_s; as estimated it may be negative.
        video: of b_v, a video's expected difference.
        noise: of e_sv, redrawn for every seed and video.
    """

    seed: float
    video: float
    noise: float

    def for_planning(self) -> Components:
        """The same with no variance below zero, to be used at other numbers of seeds and videos."""
        return Components(max(self.seed, 0.0), self.video, self.noise)


@dataclass(frozen=True)
class Difference:
    """Row minus reference, in percentage points.

    Attributes:
        mean: over shared seeds and videos.
        interval: t interval of this look's level; None with one seed, where only the videos vary.
        p: two-sided, scaled so that 0.05 is the look's level; None with one seed.
        p_equal: of two one-sided tests against the margin, scaled alike; None with one seed, or without a margin.
        df: degrees of freedom of the tests.
        per_seed: the difference of each shared seed.
        counts: videos that only the row, only the reference answers, by shared seed.
        mcnemar: exact p of each seed: whether these two trained models differ, whatever other seeds would do.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None
    p_equal: float | None
    se: float
    df: float
    per_seed: dict[int, float]
    counts: dict[int, tuple[int, int]]
    mcnemar: dict[int, float]
    videos: int
    components: Components | None

    @property
    def seeds(self) -> int:
        """Number of shared seeds."""
        return len(self.per_seed)

    @property
    def gained(self) -> float:
        """Videos that only the row answers, on average over seeds."""
        return sum(gained for gained, _ in self.counts.values()) / self.seeds

    @property
    def lost(self) -> float:
        """Videos that only the reference answers, on average over seeds."""
        return sum(lost for _, lost in self.counts.values()) / self.seeds


@dataclass(frozen=True)
class PairedCounts:
    """What the analysis needs of two rows' shared seeds and videos.

    Attributes:
        seeds: shared.
        gained, lost: videos that only the row, only the reference answers, shape (seeds,).
        by_video: sum over seeds of 1, 0 or -1, shape (answered videos,); further videos have 0.
        videos: in all.
    """

    seeds: tuple[int, ...]
    gained: NDArray[np.int64]
    lost: NDArray[np.int64]
    by_video: NDArray[np.int32]
    videos: int

    @cached_property
    def video_variance(self) -> float:
        """Variance over the videos of their mean differences over seeds."""
        total = float((self.gained - self.lost).sum()) / len(self.seeds)
        return (self._squares - total**2 / self.videos) / max(self.videos - 1, 1)

    @cached_property
    def _squares(self) -> float:
        """Sum over the videos of their squared mean differences."""
        means = self.by_video / len(self.seeds)
        return float(means @ means)

    @cached_property
    def noise(self) -> float:
        """Variance of e_sv, by the two-way analysis of variance without replication.

        Searle, Casella and McCulloch, *Variance Components*, 1992, chapter 4. At least two seeds.
        """
        n, videos = len(self.seeds), self.videos
        by_seed = (self.gained - self.lost) / videos
        squares = float((self.gained + self.lost).sum())
        total = n * videos * float(by_seed.mean()) ** 2
        residual = squares - videos * float(by_seed @ by_seed) - n * self._squares + total
        return max(residual, 0.0) / ((n - 1) * max(videos - 1, 1))

    @cached_property
    def video(self) -> float:
        """Variance of b_v."""
        return max(self.video_variance - self.noise / len(self.seeds), 0.0) if self.videos > 1 else 0.0


def count_pairs(row: Outcomes, reference: Outcomes) -> PairedCounts | None:
    """Count on the seeds and videos that two rows share; None if they share no seed."""
    seeds = tuple(sorted(row.correct.keys() & reference.correct.keys()))
    if not seeds:
        return None
    row, reference = on_common_videos(row, reference)
    pairs = [(row.packed[seed], reference.packed[seed]) for seed in seeds]
    gained = np.array([np.bitwise_count(mine & ~theirs).sum() for mine, theirs in pairs], dtype=np.int64)
    lost = np.array([np.bitwise_count(theirs & ~mine).sum() for mine, theirs in pairs], dtype=np.int64)
    videos = max(row.expected, reference.expected, len(row.ids))
    return PairedCounts(seeds, gained, lost, row.times(seeds) - reference.times(seeds), videos)


def mcnemar(gained: NDArray[np.int64], lost: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact two-sided p of McNemar's test of two models on the same videos.

    Args:
        gained: videos that one model alone answers, of any shape.
        lost: those that the other alone answers, of the same shape.
    """
    discordant = gained + lost
    tail = special.bdtr(np.minimum(gained, lost), discordant, 0.5)
    return np.where(discordant, np.minimum(1.0, 2 * tail), 1.0)
