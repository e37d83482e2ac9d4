"""Every comparison that a study asks for, in one analysis, and what the table may claim of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from far.errors import DataError
from reports.results.results import Results

if TYPE_CHECKING:
    from reports.analysis.looks import Standing
    from reports.statistics import Difference, Outcomes, Verdict
    from reports.statistics.study import SeedVariance

Pair = tuple[str, str]
"""A row and the one that it is compared with."""
FEWEST_VIDEOS = 50
"""Below, nothing is claimed: simulations have validated the analysis from 56 videos on."""
DEPARTS = 0.01
"""A row whose variance between seeds has a smaller p among the others' is named."""


@dataclass(frozen=True)
class Comparison:
    """A table's differences in one metric.

    Attributes:
        baseline: the row that all others are compared with, if any.
        differences: by pair; intervals and p values stand only where they may be shown.
        adjusted: p of a difference by Holm over the table, of pairs of which something is claimed.
        equal: p of equality within the margin, likewise.
        standing: what the table may claim.
        margin: percentage points within which rows count as equal.
        rows: of the study, all of which inform the variances.
        departing: rows that vary between seeds unlike the others.
        unclaimed: why of single pairs nothing is claimed.
        problems: what stood in the way.
    """

    baseline: str | None
    differences: Mapping[Pair, Difference]
    adjusted: Mapping[Pair, float]
    equal: Mapping[Pair, float]
    standing: Standing
    margin: float | None = None
    rows: int = 2
    departing: Sequence[str] = ()
    unclaimed: Mapping[Pair, str] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def verdict(self, pair: Pair) -> Verdict | None:
        """What is claimed of a pair; None where nothing is."""
        from reports.statistics import verdict

        return verdict(self.adjusted[pair], self.equal.get(pair)) if pair in self.adjusted else None

    def others(self, row: str) -> list[Pair]:
        """Pairs of a row with another one than the baseline."""
        return [pair for pair in self.differences if pair[0] == row and pair[1] != self.baseline]

    def seeds_to_differ(self, pair: Pair) -> tuple[int | None, int | None] | None:
        """Range of the number of seeds that would show a difference; None where it is shown, or cannot be told."""
        from reports.statistics import Verdict, level_of_look, seeds_range

        found = self.differences[pair]
        if pair not in self.adjusted or found.components is None or self.verdict(pair) is not Verdict.UNDECIDED:
            return None
        level = level_of_look(self.standing.look + 1)  # more seeds are a further look
        if level is None:
            return None
        least, most = seeds_range(found, rows=self.rows, level=level, comparisons=len(self.adjusted))
        more = found.seeds + 1
        return (None if least is None else max(least, more)), (None if most is None else max(most, more))

    def seeds_to_equal(self, pair: Pair) -> int | None:
        """Number of seeds that would show a true difference of 0 to be within the margin; None: no number does."""
        from reports.statistics import level_of_look
        from reports.statistics.power import Design, seeds_for_equal

        found, level = self.differences[pair], level_of_look(self.standing.look + 1)
        if self.margin is None or found.components is None or level is None:
            return None
        design = Design(found.components, found.videos, self.rows, level / len(self.adjusted))
        needed = seeds_for_equal(self.margin, design)
        return None if needed is None else max(needed, found.seeds + 1)


def asked_pairs(results: Results) -> list[Pair]:
    """Return the comparisons that a study asks for: every row with its baseline, then its own pairs."""
    baseline = results.baseline if results.baseline_asked else None
    rows = [row.name for row in results.rows if row.name not in (baseline, results.placebo)]
    pairs = [(row, baseline) for row in rows if baseline is not None]
    return list(dict.fromkeys([*pairs, *results.compare]))


def compare_rows(results: Results, metric: str = "top1", *, claim: bool = True) -> Comparison | None:
    """Make every comparison that a study asks for, on what has finished.

    Args:
        results: of the study.
        metric: ``top1`` or ``top5``.
        claim: whether the claims are going to be shown, which makes this a look at the study and records it.

    Returns:
        None if the study compares nothing, or nothing of it has finished.
    """
    finished = [row.name for row in results.rows if row.finished]
    pairs = [pair for pair in asked_pairs(results) if set(pair) <= set(finished)]
    if not pairs:
        return None
    from reports.analysis.correctness import row_outcomes
    from reports.analysis.looks import Looks, Standing
    from reports.statistics import seed_variances

    outcomes, problems = row_outcomes(results, metric)
    rows = {name: outcomes[name] for name in finished if name != results.placebo}
    spread = seed_variances(rows)
    looks = Looks(results, pairs)
    standing = looks.standing() if claim else Standing(withheld="nothing is claimed here")
    differences, wrong = _differences(rows, pairs, results.equal_within, standing.level, spread)
    base = Comparison(
        results.baseline if results.baseline_asked else None,
        differences,
        {},
        {},
        standing,
        results.equal_within,
        len(rows),
        tuple(name for name, own in spread.items() if own.departs < DEPARTS),
        problems=(*problems, *wrong),
    )
    made = _claimed(base)
    if claim and not standing.withheld and made.adjusted:
        verdicts = {pair: str(made.verdict(pair)) for pair in made.adjusted}
        if reason := looks.record(standing, verdicts):
            return _claimed(replace(base, standing=replace(standing, withheld=reason)))
    return made


def _differences(
    rows: Mapping[str, Outcomes],
    pairs: Sequence[Pair],
    margin: float | None,
    level: float,
    spread: Mapping[str, SeedVariance],
) -> tuple[dict[Pair, Difference], list[str]]:
    from reports.statistics import compare_pairs

    found, problems = {}, []
    for pair in pairs:
        try:
            found.update(compare_pairs(rows, [pair], margin=margin, level=level, spread=spread))
        except DataError as error:  # other videos than the other row's, and the lists cannot be read
            problems.append(f"{pair[0]}: {error}")
    return found, problems


def both_ways(ps: Mapping[Pair, float], pairs: Collection[Pair]) -> dict[Pair, float]:
    """Return the p of each pair, or of the same two rows the other way round."""
    found = {pair: ps.get(pair, ps.get((pair[1], pair[0]))) for pair in pairs}
    return {pair: p for pair, p in found.items() if p is not None}


def _claimed(comparison: Comparison) -> Comparison:
    """Adjust what may be claimed for the number of comparisons, and take the rest's intervals and p values away."""
    from reports.statistics import adjust

    standing = comparison.standing
    unclaimed: dict[Pair, str] = {}
    for pair, found in comparison.differences.items():
        if standing.withheld:
            unclaimed[pair] = "interim" if standing.interim else "no claim"
        elif found.p is None:
            unclaimed[pair] = "one shared seed"
        elif pair in standing.post_hoc:
            unclaimed[pair] = standing.post_hoc[pair]
        elif found.videos < FEWEST_VIDEOS:
            unclaimed[pair] = f"fewer than {FEWEST_VIDEOS} videos"
    shown = {
        pair: replace(
            found,
            interval=None if pair in unclaimed else found.interval,
            p=None if pair in unclaimed else found.p,
            p_equal=None if pair in unclaimed or standing.margin_withheld else found.p_equal,
        )
        for pair, found in comparison.differences.items()
    }
    # A pair that is asked for both ways round is one comparison.
    once = {pair: found for pair, found in shown.items() if (pair[1], pair[0]) not in shown or pair[0] < pair[1]}
    adjusted, equal = (both_ways(ps, shown) for ps in adjust(once))
    return replace(comparison, differences=shown, adjusted=adjusted, equal=equal, unclaimed=unclaimed)
