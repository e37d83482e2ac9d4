"""What is measured on simulated studies: sizes, coverage, wrong equality, looks, power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.simulation.generator import Scenario, Study, generate, noise
from reports.statistics import Difference, Outcomes, adjust, compare_pairs, level_of_look, seed_variances

BASE, SHIFTED = "0", "1"


@dataclass(frozen=True)
class Cell:
    """Shares of simulated studies, in percent, of one kind of study.

    Attributes:
        size: of comparisons without a difference that have p < 0.05; None where all rows but two are odd.
        odd: the same of the row that varies more than the others.
        coverage: of intervals of a true difference.
        equal: of true differences as large as the margin that are called equal.
        family: of tables with any false claim after Holm.
        null_width: of intervals whose width is 0.
    """

    scenario: str
    rows: int
    seeds: int
    videos: int
    studies: int
    size: float | None
    odd: float | None
    coverage: float
    equal: float
    family: float
    null_width: float

    def line(self) -> dict[str, object]:
        """The cell as plain data."""
        return asdict(self)


def outcomes(study: Study, seeds: Sequence[int] | None = None) -> dict[str, Outcomes]:
    """Hand a simulated study to the analysis, of these seeds alone if any are named."""
    ids = tuple(map(str, range(len(next(iter(study.correct[0].values()))))))
    return {
        str(row): Outcomes(ids, {s: bits for s, bits in by_seed.items() if seeds is None or s in seeds})
        for row, by_seed in enumerate(study.correct)
    }


def against_base(rows: int) -> list[tuple[str, str]]:
    """Every row against the first."""
    return [(str(row), BASE) for row in range(1, rows)]


def shift_of(scenario: Scenario, videos: int) -> float:
    """A true difference, in points, of about twice what the videos' noise makes of one seed's difference."""
    return 100 * 2 * float(np.sqrt(2 * noise(scenario.accuracy) / videos))


def measure(scenario: Scenario, rows: int, seeds: int, videos: int, studies: int, seed: int = 0) -> Cell:
    """Simulate studies whose second row is truly worse, and all others truly equal."""
    rng = np.random.default_rng([seed, rows, seeds, videos, *scenario.name.encode()])
    shift = shift_of(scenario, videos)
    odd = str(rows - 1) if scenario.odd != 1 else None
    false, odds, covered, equal, family, widths = [], [], [], [], [], []
    for _ in range(studies):
        study = generate(rng, scenario, rows, seeds, videos, (0.0, -shift))
        found = {row: d for (row, _), d in compare_pairs(outcomes(study), against_base(rows), margin=shift).items()}
        differ, same = adjust(found)
        nulls = [row for row in found if row != SHIFTED]
        family.append(any(differ[row] < 0.05 for row in nulls) or same[SHIFTED] < 0.05)
        false += [_p(found[row]) < 0.05 for row in nulls if row != odd]
        odds += [_p(found[odd]) < 0.05] if odd else []
        low, high = _interval(found[SHIFTED])
        covered.append(low <= -shift <= high)
        equal.append((found[SHIFTED].p_equal or 0.0) < 0.05)
        widths += [np.ptp(_interval(d)) == 0 for d in found.values()]
    return Cell(
        scenario.name, rows, seeds, videos, studies, _share(false) if false else None, _share(odds) if odds else None,
        _share(covered), _share(equal), _share(family), _share(widths),
    )  # fmt: skip


def false_claims_over_looks(
    scenario: Scenario, rows: int, videos: int, studies: int, *, planned: int = 2, looks: int = 8, seed: int = 0
) -> list[float]:
    """Share of tables without any difference that have claimed one by each look, in percent; a seed more each time."""
    rng = np.random.default_rng([seed, rows, videos, planned, looks, *scenario.name.encode()])
    claimed = np.zeros((studies, looks), dtype=bool)
    for index in range(studies):
        study = generate(rng, scenario, rows, planned + looks - 1, videos)
        for look in range(looks):
            level = level_of_look(look + 1)
            assert level is not None
            own = outcomes(study, range(planned + look))
            differ, _ = adjust(compare_pairs(own, against_base(rows), level=level))
            claimed[index, look] = any(p < 0.05 for p in differ.values())
    return [round(100 * float(share), 2) for share in np.logical_or.accumulate(claimed, axis=1).mean(axis=0)]


def chances(
    scenario: Scenario, rows: int, seeds: int, videos: int, difference: float, studies: int, *, seed: int = 0
) -> dict[str, float]:
    """Share of studies, in percent, that find one row's true difference: alone, planned, by Holm, unmoderated."""
    rng = np.random.default_rng([seed, rows, seeds, videos, round(1000 * difference)])
    planned = level_of_look(1)
    assert planned is not None
    found: dict[str, list[bool]] = {"one comparison": [], "planned look": [], "by Holm": [], "each row alone": []}
    for _ in range(studies):
        own = outcomes(generate(rng, scenario, rows, seeds, videos, (0.0, -difference)))
        spread = seed_variances(own)
        once = compare_pairs(own, against_base(2), spread=spread)
        alone = compare_pairs(own, against_base(2), spread={})
        family = compare_pairs(own, against_base(rows), spread=spread, level=planned)
        found["one comparison"].append(_p(once[SHIFTED, BASE]) < 0.05)
        found["each row alone"].append(_p(alone[SHIFTED, BASE]) < 0.05)
        found["planned look"].append(_p(family[SHIFTED, BASE]) < 0.05)
        found["by Holm"].append(adjust(family)[0][SHIFTED, BASE] < 0.05)
    return {name: _share(hits) for name, hits in found.items()}


def _p(found: Difference) -> float:
    assert found.p is not None
    return found.p


def _interval(found: Difference) -> tuple[float, float]:
    assert found.interval is not None
    return found.interval


def _share(hits: Sequence[bool]) -> float:
    return round(100 * float(np.mean(hits)), 2)
