"""Every row against the baseline row: paired difference, interval, Holm over the table, and what it would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from far.errors import DataError
from reports.results.results import Results
from reports.tables.model import Cell, Note, State, number

if TYPE_CHECKING:
    from reports.statistics import Difference

MOST_SEEDS_WORTH_NAMING = 100


@dataclass(frozen=True)
class Comparison:
    """A table's differences to its baseline in one metric."""

    baseline: str
    differences: Mapping[str, Difference]
    adjusted: Mapping[str, float]
    """Holm's p of the rows whose seeds suffice for a claim."""
    problems: tuple[str, ...] = ()

    def cell(self, row: str, state: State) -> Cell:
        """The cell of a row's difference."""
        if row == self.baseline:
            return Cell("baseline")
        found = self.differences.get(row)
        if found is None:
            return Cell(state=state) if state is not State.FINISHED else Cell()
        return Cell(
            found.mean,
            signed=True,
            decimals=1,
            interval=found.interval,
            values=tuple(found.per_seed.values()),
            stars=self.stars(row),
        )

    def stars(self, row: str) -> str:
        """Stars of the adjusted p; none without enough seeds."""
        from reports.statistics.multiple import stars

        return stars(self.adjusted[row]) if row in self.adjusted else ""

    def data(self, row: str) -> dict[str, object] | None:
        """The difference for machines."""
        found = self.differences.get(row)
        if found is None:
            return None
        return {
            "baseline": self.baseline,
            "mean": found.mean,
            "interval": list(found.interval) if found.interval else None,
            "p": found.p,
            "p_holm": self.adjusted.get(row),
            "claimable": found.claimable,
            "seeds": found.seeds,
            "videos": found.videos,
            "per_seed": {str(seed): value for seed, value in found.per_seed.items()},
            "mcnemar_p": {str(seed): value for seed, value in found.mcnemar.items()},
            "gained": found.gained,
            "lost": found.lost,
            "seeds_needed": _needed(found),
        }

    def notes(self) -> list[Note]:
        """What the reader must know about the intervals and stars of this table."""
        from reports.statistics import MIN_SEEDS

        if not self.differences:
            return []
        seeds = min(d.seeds for d in self.differences.values())
        text = (
            f"Δ: percentage points against {self.baseline}, paired by video and seed, with the 95 % interval of a "
            "hierarchical bootstrap over seeds and videos."
        )
        if self.adjusted:
            text += " Stars: p < 0.05, 0.01, 0.001 by Holm over the table."
        notes = [Note(text)]
        if seeds < MIN_SEEDS:
            notes.append(
                Note(
                    f"{seeds} shared seed{'s' if seeds > 1 else ''}: too few for a claim of significance (at least "
                    f"{MIN_SEEDS}); intervals over two seeds cover less than they say (about 91 %)."
                    if seeds > 1
                    else "One shared seed: nothing can be said about other seeds."
                )
            )
        needed = [
            f"{row} ({_points(d.mean)}): {_seeds_text(d)}" for row, d in self.differences.items() if _open(self, row)
        ]
        if needed:
            notes.append(Note(f"Seeds to see such a difference with 80 % power: {'; '.join(needed)}."))
        return notes


def compare_rows(results: Results, metric: str = "top1") -> Comparison | None:
    """Compare every row with the baseline, on what has finished.

    Returns:
        None if the study has no baseline, or nothing of it has finished.
    """
    baseline = results.baseline
    if baseline is None or len(results.rows) < 2 or not results.row(baseline).finished:
        return None
    from reports.analysis.correctness import row_outcomes
    from reports.statistics import compare, holm

    outcomes, problems = row_outcomes(results, metric)
    differences = {}
    for row in results.rows:
        if row.name != baseline and row.finished:
            try:
                found = compare(outcomes[row.name], outcomes[baseline])
            except DataError as error:  # other videos than the baseline's, and the lists cannot be read
                problems.append(f"{row.name}: {error}")
                continue
            if found is not None:
                differences[row.name] = found
    claims = {row: d.p for row, d in differences.items() if d.claimable and d.p is not None}
    adjusted = dict(zip(claims, holm(list(claims.values())), strict=True))
    return Comparison(baseline, differences, adjusted, tuple(problems))


def _open(comparison: Comparison, row: str) -> bool:
    """Whether a row's difference is seen but not yet shown."""
    found = comparison.differences[row]
    return found.components is not None and comparison.adjusted.get(row, 1.0) >= 0.05 and abs(found.mean) >= 0.05


def _needed(found: Difference) -> int | None:
    from reports.statistics import seeds_needed

    if found.components is None or abs(found.mean) < 0.05:
        return None
    return seeds_needed(found.mean, found.components, found.videos)


def _seeds_text(found: Difference) -> str:
    needed = _needed(found)
    if needed is None:
        return f"out of reach with {found.videos} videos"
    return f"about {needed}" if needed <= MOST_SEEDS_WORTH_NAMING else f"more than {MOST_SEEDS_WORTH_NAMING}"


def _points(value: float) -> str:
    return number(value, 1, signed=True)
