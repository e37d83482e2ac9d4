"""What a table's own checks show: the placebo, in which nothing may be found, and the control, which must do worse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from reports.analysis.comparison import Comparison
from reports.results.results import Results
from reports.text import number

if TYPE_CHECKING:
    from reports.statistics import Difference, Outcomes

CONTROL_FAILS, CONTROL_HOLDS = "The control does worse, as it must", "Warning: the control was not seen to do worse"


def self_checks(results: Results, comparison: Comparison | None) -> list[str]:
    """Return a sentence on each check that a study asks for.

    Args:
        results: of the study.
        comparison: of the table's rows.
    """
    found = []
    if results.placebo is not None:
        found.append(_placebo(results, comparison))
    if results.control is not None:
        found.append(_control(results.control, results, comparison))
    return found


def placebo_difference(results: Results, level: float) -> Difference | None:
    """Compare the baseline at other seeds with the baseline: seeds that have nothing in common, in pairs.

    Args:
        results: of a study with a placebo.
        level: of this look.

    Returns:
        None where too little has finished.
    """
    assert results.placebo is not None
    return _difference(results, results.placebo, level)


def _difference(results: Results, row: str, level: float) -> Difference | None:
    """Compare a check's row with the baseline, apart from what the table claims."""
    from reports.analysis.correctness import row_outcomes
    from reports.statistics import compare_pairs, seed_variances

    assert results.baseline is not None
    outcomes, _ = row_outcomes(results)
    rows = {each.name: outcomes[each.name] for each in results.rows if each.finished and each.name != results.placebo}
    if results.baseline not in rows or not outcomes[row].correct:
        return None
    spread = seed_variances(rows)
    if row == results.placebo:
        if results.baseline in spread:  # one recipe has one variance
            spread = {**spread, row: spread[results.baseline]}
        rows[row] = _at_the_seeds_of_the_baseline(results, outcomes[row])
    return compare_pairs(rows, [(row, results.baseline)], level=level, spread=spread).get((row, results.baseline))


def placebo_pairs(results: Results) -> Mapping[int, int]:
    """Return the seed of the baseline that each seed of the placebo is compared with."""
    assert results.placebo is not None
    assert results.baseline is not None
    own = [trial.seed for trial in results.row(results.placebo).planned]
    return dict(zip(own, [trial.seed for trial in results.row(results.baseline).planned], strict=False))


def _at_the_seeds_of_the_baseline(results: Results, placebo: Outcomes) -> Outcomes:
    against = placebo_pairs(results)
    return replace(
        placebo, correct={against[seed]: right for seed, right in placebo.correct.items() if seed in against}
    )


def _placebo(results: Results, comparison: Comparison | None) -> str:
    against = placebo_pairs(results)
    seeds = f"{results.baseline} at seeds {_listed(against)} against seeds {_listed(against.values())}"
    standing = comparison.standing if comparison is not None else None
    if standing is None or standing.withheld:
        return f"Placebo ({seeds}): not looked at yet"
    found = placebo_difference(results, standing.level)
    if found is None or found.interval is None or found.p is None:
        return f"Placebo ({seeds}): too few of its seeds have finished"
    said = f"Placebo ({seeds}): {_points(found)}"
    if found.p >= 0.05:
        return f"{said}: no difference found, as it must be"
    return (
        f"Warning: {said}: a difference between a row and itself. One table in twenty shows this by chance; if it "
        "stays with more seeds, the stars of this table do not hold"
    )


def _control(control: str, results: Results, comparison: Comparison | None) -> str:
    standing = comparison.standing if comparison is not None else None
    if standing is None or standing.withheld:
        return "Control: not looked at yet"
    found = _difference(results, control, standing.level)
    if found is None or found.interval is None or found.p is None:
        return "Control: too few of its seeds have finished"
    if found.p < 0.05 and found.mean < 0:
        return f"{CONTROL_FAILS}: {_points(found)}"
    return f"{CONTROL_HOLDS}: {_points(found)}. A table that misses this difference cannot be trusted to see others"


def _points(found: Difference) -> str:
    assert found.interval is not None
    low, high = (number(end, 1, signed=True) for end in found.interval)
    return f"{number(found.mean, 1, signed=True)} [{low}, {high}]"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))
