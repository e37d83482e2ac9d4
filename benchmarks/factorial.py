"""Coverage of a factorial's effects on simulated studies of known truth: ``python -m benchmarks.factorial``.

Three or four components with planted main effects and interactions, at several numbers of seeds and videos. One line of
JSON a cell: the share of intervals that hold the true effect (goal: 93 to 97 %), and of effects of 0 that were starred
before Holm (goal: 3 to 7 %). The generator shares no code with the analysis, and truths are computed here.
"""

from __future__ import annotations

import argparse
import itertools
import json

import numpy as np

from benchmarks.simulation.generator import SCENARIOS, generate
from reports.statistics.contrasts import factorial_effects
from reports.statistics.outcomes import stack

PLANTED = {("a",): 3.0, ("b",): -2.0, ("a", "b"): 2.5, ("a", "c"): -1.5}
"""Points."""
SHOWN = ("no variance between seeds", "moderate", "large", "heavy tails", "one row 2x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--components", type=int, nargs="+", default=[3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--videos", type=int, nargs="+", default=[400, 5000])
    parser.add_argument("--scenario", nargs="+", default=SHOWN)
    arguments = parser.parse_args()
    for scenario, *cell in itertools.product(
        arguments.scenario, arguments.components, arguments.seeds, arguments.videos
    ):
        print(json.dumps({"scenario": scenario, **measure(scenario, *cell, studies=arguments.studies)}), flush=True)


def measure(scenario: str, components: int, seeds: int, videos: int, *, studies: int) -> dict[str, float]:
    """Return coverage and size over so many studies of one kind."""
    chosen = next(each for each in SCENARIOS if each.name == scenario)
    names = "abcdefgh"[:components]
    rows = [frozenset(some) for size in range(components, -1, -1) for some in itertools.combinations(names, size)]
    shifts = tuple(sum(worth for planted, worth in PLANTED.items() if row.issuperset(planted)) for row in rows)
    present = {str(number): row for number, row in enumerate(rows)}
    truth = true_effects(rows, shifts)
    rng = np.random.default_rng([seeds, videos, components, len(scenario)])
    covered, zeros, starred, found, width = 0, 0, 0, 0, 0.0
    ids = tuple(map(str, range(videos)))
    for _ in range(studies):
        study = generate(rng, chosen, len(rows), seeds, videos, shifts)
        outcomes = {
            str(number): stack({seed: (ids, right) for seed, right in row.items()}, videos)
            for number, row in enumerate(study.correct)
        }
        for effect in factorial_effects(outcomes, present, names):
            assert effect.interval is not None
            assert effect.p is not None
            low, high = effect.interval
            found += 1
            width += high - low
            covered += low <= truth[effect.components] <= high
            if truth[effect.components] == 0:
                zeros += 1
                starred += effect.p < 0.05
    return {
        "components": components, "seeds": seeds, "videos": videos, "studies": studies,
        "coverage": round(100 * covered / found, 1), "size": round(100 * starred / max(zeros, 1), 1),
        "half_width": round(width / found / 2, 2),
    }  # fmt: skip


def true_effects(rows: list[frozenset[str]], accuracies: tuple[float, ...]) -> dict[tuple[str, ...], float]:
    """Return each effect from the rows' true accuracies: differences of means, and differences of these."""
    names = sorted(rows[0])
    mean = dict(zip(rows, accuracies, strict=True))

    def effect(some: tuple[str, ...], fixed: frozenset[str]) -> float:
        if not some:
            free = [name for name in names if name not in used]
            sets = [fixed | set(more) for size in range(len(free) + 1) for more in itertools.combinations(free, size)]
            return sum(mean[frozenset(each)] for each in sets) / len(sets)
        first, *rest = some
        return effect(tuple(rest), fixed | {first}) - effect(tuple(rest), fixed)

    found = {}
    for order in (1, 2, 3):
        for used in itertools.combinations(names, order):
            found[used] = round(effect(used, frozenset()), 9)
    return found


if __name__ == "__main__":
    main()
