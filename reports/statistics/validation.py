"""Simulated studies whose truth is known: how often the test claims too much, and how often intervals cover.

``python -m reports.statistics.validation [--studies N]`` prints the table of ``docs/reports.md``, with the simulation's
own standard error; minutes on one core.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass

import numpy as np

from far.randomness import numpy_rng
from reports.statistics.outcomes import Outcomes
from reports.statistics.paired import compare

VIDEO, ROW_VIDEO, NOISE, LEVEL = 1.5, 0.4, 0.7, 0.5
"""Latent standard deviations: difficulty shared by both rows, a row's liking for a video, chance; mean ability."""
SHIFT = 0.3
"""Ability by which the better row is better where there is a difference."""
SEEDS, VIDEOS, SEED_SDS = (2, 3, 5, 10), (200, 1000), (0.0, 0.1, 0.2, 0.4)
"""Cells of the table; the last is the latent deviation between seeds, from none to more than the videos' share."""
REPLICATES = 800


@dataclass(frozen=True)
class Validity:
    """Shares of simulated studies: null rejected at 0.05, intervals that cover without and with a difference."""

    false_positives: float
    coverage: float
    coverage_shifted: float
    studies: int

    def error(self, share: float) -> float:
        """Standard error of a share by simulation."""
        return float(np.sqrt(share * (1 - share) / self.studies))


def simulate(
    rng: np.random.Generator, seeds: int, videos: int, seed_sd: float, shift: float
) -> tuple[Outcomes, Outcomes]:
    """Two rows of a probit model with correlated videos and seeds; the second is better by ``shift``."""
    difficulty = rng.normal(0, VIDEO, videos)
    rows = []
    for ability in (LEVEL, LEVEL + shift):
        liking = rng.normal(0, ROW_VIDEO, videos)
        luck = rng.normal(0, seed_sd, (seeds, 1))
        correct = ability + difficulty + liking + luck + rng.normal(0, NOISE, (seeds, videos)) > 0
        rows.append(Outcomes(tuple(map(str, range(videos))), dict(enumerate(correct))))
    return rows[0], rows[1]


def truth(seed_sd: float, shift: float) -> float:
    """The true difference of that model in percentage points, in closed form."""
    from scipy.special import ndtr

    total = np.sqrt(VIDEO**2 + ROW_VIDEO**2 + seed_sd**2 + NOISE**2)
    return 100 * float(ndtr((LEVEL + shift) / total) - ndtr(LEVEL / total))


def validate(seeds: int, videos: int, seed_sd: float, studies: int) -> Validity:
    """Simulate studies of one kind and compare their rows, without and with a true difference."""
    rng = numpy_rng(0, "validation", seeds, videos, seed_sd)
    hits = np.zeros(3)
    for _ in range(studies):
        for index, shift in ((1, 0.0), (2, SHIFT)):
            a, b = simulate(rng, seeds, videos, seed_sd, shift)
            found = compare(b, a, replicates=REPLICATES)
            assert found is not None and found.p is not None and found.interval is not None
            low, high = found.interval
            hits[index] += low <= (truth(seed_sd, shift) if shift else 0.0) <= high
            hits[0] += shift == 0 and found.p < 0.05
    false_positives, coverage, coverage_shifted = (hits / studies).tolist()
    return Validity(false_positives, coverage, coverage_shifted, studies)


def main() -> None:
    """Print one line a cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    for seeds, videos, seed_sd in itertools.product(SEEDS, VIDEOS, SEED_SDS):
        v = validate(seeds, videos, seed_sd, studies)
        shares = (v.false_positives, v.coverage, v.coverage_shifted)
        cells = [f"{100 * share:5.1f} ± {100 * v.error(share):.1f} %" for share in shares]
        print(f"{seeds:>3} seeds {videos:>5} videos seed sd {seed_sd:.1f}: false positives {cells[0]}, "
              f"coverage {cells[1]}, {cells[2]} with a difference", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
