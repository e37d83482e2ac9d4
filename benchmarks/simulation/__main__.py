"""The tables of ``docs/statistics.md``, from simulated studies; about an hour on one core.

    python -m benchmarks.simulation [sizes|looks|power] [--studies 2000] [--scenario NAME ...] [-o FILE.jsonl]
    python -m benchmarks.simulation table FILE.jsonl ...

Every line is one cell as JSON. The standard error of a share of 5 % of 2,000 studies is 0.5 %, and less where a study
has several comparisons.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.simulation.cells import chances, false_claims_over_looks, measure
from benchmarks.simulation.generator import SCENARIOS, Scenario, noise

ROWS, SEEDS, VIDEOS = (3, 5, 12), (2, 3, 5, 10), (56, 400, 5_000, 24_777)
DIFFERENCES = {
    2: (0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0, 1.1),
    3: (0.3, 0.4, 0.5, 0.6, 0.7),
    5: (0.3, 0.4, 0.5, 0.6, 0.7),
}
"""Points, by number of seeds."""
SEED_SD = 0.15
"""Points between seeds of one row, where power is measured."""


def sizes(scenarios: list[Scenario], studies: int) -> Iterator[dict[str, object]]:
    """Yield sizes and coverage of every kind of study."""
    for scenario, videos, rows, seeds in itertools.product(scenarios, VIDEOS, ROWS, SEEDS):
        yield measure(scenario, rows, seeds, videos, studies).line()


def looks(scenarios: list[Scenario], studies: int) -> Iterator[dict[str, object]]:
    """Yield false claims by look, a seed more each time."""
    for scenario, videos, rows, planned in itertools.product(scenarios, (400, 5_000), ROWS, (2, 3)):
        found = false_claims_over_looks(scenario, rows, videos, studies, planned=planned)
        yield {"scenario": scenario.name, "rows": rows, "videos": videos, "planned": planned, "false claims": found}


def power(scenarios: list[Scenario], studies: int) -> Iterator[dict[str, object]]:
    """Yield the chance of finding a difference in 12 rows on 24,777 videos."""
    multiple = SEED_SD / 100 / (noise(scenarios[0].accuracy) / VIDEOS[-1]) ** 0.5
    scenario = Scenario(f"{SEED_SD} points between seeds", seeds=multiple)
    for seeds, differences in DIFFERENCES.items():
        for difference in differences:
            found = chances(scenario, 12, seeds, VIDEOS[-1], difference, studies)
            yield {"scenario": scenario.name, "seeds": seeds, "difference": difference, **found}


PARTS = {"sizes": sizes, "looks": looks, "power": power}


def table(lines: Iterable[str]) -> str:
    """Return sizes and coverage as Markdown, a line for each scenario and number of videos: ranges over rows."""
    cells: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for line in lines:
        cell = json.loads(line)
        cells.setdefault((cell["scenario"], cell["videos"]), []).append(cell)
    head = [
        "seeds vary",
        "videos",
        *(f"size, {n} seeds" for n in SEEDS),
        "odd row",
        "coverage",
        "wrong equal",
        "family",
    ]
    out = [head, ["---"] * len(head)]
    order = {scenario.name: index for index, scenario in enumerate(SCENARIOS)}
    for (name, videos), found in sorted(cells.items(), key=lambda item: (order[item[0][0]], item[0][1])):
        by_seeds = [[cell for cell in found if cell["seeds"] == n] for n in SEEDS]
        sizes_ = [_range(cells, "size") for cells in by_seeds]
        odd = " / ".join(_range(cells, "odd") for cells in by_seeds) if any(cell["odd"] for cell in found) else "–"
        rest = [_range(found, key) for key in ("coverage", "equal", "family")]
        out.append([name, f"{videos:,}", *sizes_, odd, *rest])
    return "\n".join(f"| {' | '.join(row)} |" for row in out)


def _range(cells: list[dict[str, Any]], key: str) -> str:
    values = [float(cell[key]) for cell in cells if cell[key] is not None]
    if not values:
        return "–"
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low}-{high}"


def main() -> None:
    """Print one line a cell, as they are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "table"], nargs="?", default="sizes")
    parser.add_argument("files", nargs="*", type=Path, help="of the part 'table'")
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--scenario", action="append", choices=[scenario.name for scenario in SCENARIOS])
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    if given.part == "table":
        print(table(line for path in given.files for line in path.read_text().splitlines()))
        return
    chosen = [scenario for scenario in SCENARIOS if given.scenario is None or scenario.name in given.scenario]
    with given.output.open("a") if given.output else sys.stdout as file:
        for line in PARTS[given.part](chosen, given.studies):
            print(json.dumps(line), file=file, flush=True)


if __name__ == "__main__":
    main()
