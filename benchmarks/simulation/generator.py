"""Studies of known truth: which videos each network answers. Shares no code with the analysis.

A video is answered where the sum of five things exceeds chance: the row's ability, the video's ease (the same for all),
the row's liking for the video, the luck of a seed with all rows, and its luck with this row. Chance is uniform over
``WIDTH`` units, all else normal (or heavy-tailed) in the same units.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

WIDTH = 8192
EASE, LIKING = 11_000.0, 1_600.0
"""Standard deviations over videos: so that at 70 % 10 % are answered by just one of two networks, a sixth of
these by the same one with every seed."""
TAIL = 3
"""Degrees of freedom of heavy tails (the variance of luck stays what it is without)."""


@dataclass(frozen=True)
class Scenario:
    """How the rows of a study behave.

    Attributes:
        name: in tables.
        seeds: standard deviation of a network's accuracy between seeds, as a multiple of what the videos alone make.
        odd: this multiple of it in the last row.
        heavy: whether luck has heavy tails.
        accuracy: of all rows, in percent.
        missing: which cells do not exist: none, one seed of the last row, or fewer seeds in every second row.
    """

    name: str
    seeds: float = 1.0
    odd: float = 1.0
    heavy: bool = False
    accuracy: float = 70.0
    missing: str = ""


SCENARIOS = (
    Scenario("no variance between seeds", seeds=0.0),
    Scenario("moderate"),
    Scenario("large", seeds=3.0),
    Scenario("one row 2x", odd=2.0),
    Scenario("one row 3x", odd=3.0),
    Scenario("heavy tails", seeds=2.0, heavy=True),
    Scenario("ceiling", accuracy=99.0),
    Scenario("unequal seeds", missing="half"),
    Scenario("one seed missing", missing="one"),
)


@dataclass(frozen=True)
class Study:
    """A simulated study: ``correct[row][seed]`` of shape (videos,), and each row's true accuracy in percent."""

    correct: list[dict[int, np.ndarray]]
    accuracy: tuple[float, ...]


def generate(
    rng: np.random.Generator, scenario: Scenario, rows: int, seeds: int, videos: int, shifts: tuple[float, ...] = ()
) -> Study:
    """Draw a study.

    Args:
        rng: source of randomness.
        scenario: how its rows behave.
        rows: number of rows; the first is the baseline.
        seeds: number of seeds.
        videos: in the validation set.
        shifts: true accuracy of the first rows above the scenario's, in percentage points.
    """
    spread = luck_sd(scenario, videos)
    levels = [scenario.accuracy + shift for shift in (*shifts, *[0.0] * rows)[:rows]]
    sds = [spread * (scenario.odd if row == rows - 1 else 1.0) for row in range(rows)]
    # A seed is luckier or not with all rows by as much again as with each: what pairing by seed removes.
    all_rows = _draw(rng, scenario, seeds) * spread
    ease = _over_videos(rng, videos, EASE)
    found = []
    for row in range(rows):
        # Beyond a chance's width every video is certain, so that cutting off far from it changes nothing.
        likes = ease + _over_videos(rng, videos, LIKING)
        level = np.clip(likes + round(ability(levels[row], sds[row], spread, scenario.heavy)), -22_000, 22_000)
        luck = np.clip(all_rows + _draw(rng, scenario, seeds) * sds[row], -10_000, 10_000)
        answered = level.astype(np.int16)[None] + luck.astype(np.int16)[:, None] > _chance(rng, seeds, videos)
        found.append({seed: answered[seed] for seed in range(seeds) if not _missing(scenario, row, seed, rows, seeds)})
    return Study(found, tuple(levels))


@functools.cache
def _quantiles(sd: float) -> np.ndarray:
    return np.round(sd * special.ndtri((np.arange(1 << 16) + 0.5) / (1 << 16))).astype(np.int32)


def _over_videos(rng: np.random.Generator, videos: int, sd: float) -> np.ndarray:
    """Draw normal numbers, rounded to units: fast, by their 65,536 quantiles."""
    drawn = rng.integers(0, 1 << 64, size=-(-videos // 4), dtype=np.uint64).view(np.uint16)[:videos]
    return _quantiles(sd)[drawn]


def _chance(rng: np.random.Generator, seeds: int, videos: int) -> np.ndarray:
    drawn = rng.integers(0, 1 << 64, size=-(-seeds * videos // 4), dtype=np.uint64).view(np.int16)
    return drawn[: seeds * videos].reshape(seeds, videos) >> 3  # of 65,536 units, WIDTH


def _missing(scenario: Scenario, row: int, seed: int, rows: int, seeds: int) -> bool:
    if scenario.missing == "one":
        return seeds > 2 and row == rows - 1 and seed == seeds - 1
    return scenario.missing == "half" and row % 2 == 1 and seed >= max(2, (seeds + 1) // 2)


def _draw(rng: np.random.Generator, scenario: Scenario, size: int) -> np.ndarray:
    return rng.standard_t(TAIL, size) / np.sqrt(TAIL / (TAIL - 2)) if scenario.heavy else rng.standard_normal(size)


@functools.cache
def luck_sd(scenario: Scenario, videos: int) -> float:
    """Standard deviation of luck in units, from the scenario's multiple of what the videos make of an accuracy."""
    slope = (accuracy_of(ability(scenario.accuracy) + 50) - accuracy_of(ability(scenario.accuracy) - 50)) / 100
    return scenario.seeds * float(np.sqrt(noise(scenario.accuracy) / videos)) * 100 / slope


@functools.cache
def noise(accuracy: float) -> float:
    """Expected variance of one answer over the seeds: p (1 - p), averaged over videos."""
    level = ability(accuracy) + np.hypot(EASE, LIKING) * special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    p = np.clip(level / WIDTH + 0.5, 0, 1)
    return float((p * (1 - p)).mean())


@functools.cache
def accuracy_of(level: float, own: float = 0.0, shared: float = 0.0, heavy: bool = False) -> float:
    """True accuracy in percent of a row of this ability, over videos, seeds and chance."""
    chance = WIDTH * ((np.arange(801) + 0.5) / 801 - 0.5)
    if not heavy or not own:
        return 100 * float(special.ndtr((level - chance) / np.sqrt(EASE**2 + LIKING**2 + own**2 + shared**2)).mean())
    lucks = stats.t.ppf((np.arange(150) + 0.5) / 150, TAIL) / np.sqrt(TAIL / (TAIL - 2))
    total = level + own * lucks[:, None, None] + shared * lucks[None, :, None] - chance[None, None, ::20]
    return 100 * float(special.ndtr(total / np.hypot(EASE, LIKING)).mean())


@functools.cache
def ability(accuracy: float, own: float = 0.0, shared: float = 0.0, heavy: bool = False) -> float:
    """Ability of a row of this true accuracy."""
    return float(
        optimize.brentq(lambda level: accuracy_of(level, own, shared, heavy) - accuracy, -60_000, 60_000, xtol=0.5)
    )
