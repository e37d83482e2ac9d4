"""Differences in a table: their cells, their form for machines, and what is said of them under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.comparison import Comparison, Pair
from reports.results.state import State
from reports.tables.model import Cell, Column, Note

if TYPE_CHECKING:
    from reports.analysis.looks import Standing
    from reports.statistics import Difference

COMPARED = ("delta_", "verdict", "pairs_")
"""How the keys of the columns of differences begin."""
MOST_SEEDS_WORTH_NAMING = 100


def columns(comparison: Comparison | None) -> list[Column]:
    """Columns of the differences; none where nothing is compared."""
    if comparison is None or not comparison.differences:
        return []
    found = []
    if any(reference == comparison.baseline for _, reference in comparison.differences):
        found += [Column("delta_top1", "Δ Top-1"), Column("verdict", "verdict")]
    if any(reference != comparison.baseline for _, reference in comparison.differences):
        found += [Column("pairs_top1", "Δ Top-1 of pairs")]
    return found


def cells(comparison: Comparison, row: str, state: State) -> dict[str, Cell]:
    """The cells of a row's differences."""
    found = {"delta_top1": _delta(comparison, row, state)}
    if comparison.baseline is not None and (row, comparison.baseline) in comparison.differences:
        found["verdict"] = Cell(verdict(comparison, (row, comparison.baseline)))
    if others := comparison.others(row):
        texts = [f"{_cell(comparison, pair).text} against {pair[1]}: {verdict(comparison, pair)}" for pair in others]
        found["pairs_top1"] = Cell("; ".join(texts))
    return found


def data(comparison: Comparison, row: str) -> dict[str, object] | None:
    """The difference of a row to the baseline, for machines."""
    pair = (row, comparison.baseline or "")
    return pair_data(comparison, pair) if pair in comparison.differences else None


def pairs_data(comparison: Comparison, row: str) -> list[dict[str, object]]:
    """The differences of a row to others than the baseline, for machines."""
    return [pair_data(comparison, pair) for pair in comparison.others(row)]


def pair_data(comparison: Comparison, pair: Pair) -> dict[str, object]:
    """A difference for machines: unrounded, with everything that its verdict rests on."""
    found, made = comparison.differences[pair], comparison.verdict(pair)
    seeds = comparison.seeds_to_differ(pair)
    return {
        "baseline": pair[1],
        "mean": found.mean,
        "interval": list(found.interval) if found.interval else None,
        "se": found.se,
        "df": found.df,
        "p": found.p,
        "p_holm": comparison.adjusted.get(pair),
        "equal_within": comparison.margin,
        "p_equal": found.p_equal,
        "p_equal_holm": comparison.equal.get(pair),
        "verdict": str(made) if made else None,
        "direction": direction(found) if made == "different" else None,
        "why_no_verdict": _why(comparison, pair) if made is None else None,
        "claimable": made is not None,
        "look": comparison.standing.look,
        "level": comparison.standing.level,
        "seeds": found.seeds,
        "videos": found.videos,
        "per_seed": {str(seed): value for seed, value in found.per_seed.items()},
        "mcnemar_p": {str(seed): value for seed, value in found.mcnemar.items()},
        "gained": found.gained,
        "lost": found.lost,
        "seeds_needed": list(seeds) if seeds else None,
        "seeds_to_equal": comparison.seeds_to_equal(pair) if made == "undecided" else None,
    }


def verdict(comparison: Comparison, pair: Pair) -> str:
    """What is claimed of a pair, in words."""
    made = comparison.verdict(pair)
    if made is None:
        why = comparison.unclaimed.get(pair, "no claim")
        return why if why in ("interim", "one shared seed") else "no claim"
    if made == "different":
        small = comparison.equal.get(pair, 1.0) < 0.05
        within = f", within {comparison.margin:g}" if small else ""
        return f"different ({direction(comparison.differences[pair])}{within})"
    if made == "equal":
        return f"equal within {comparison.margin:g}"
    return f"undecided ({seeds_text(comparison, pair)})"


def seeds_text(comparison: Comparison, pair: Pair) -> str:
    """Range of the number of seeds that an undecided difference would take, in words."""
    found = comparison.seeds_to_differ(pair)
    if found is None:
        return "no further look is left"
    least, most = found
    if least is None:
        return "out of reach with these videos"
    if least > MOST_SEEDS_WORTH_NAMING:
        return f"more than {MOST_SEEDS_WORTH_NAMING} seeds"
    if most is None or most > MOST_SEEDS_WORTH_NAMING:
        return f"{least} seeds or more"
    return f"{least}–{max(most, least + 1)} seeds"


def direction(found: Difference) -> str:
    """Whether the row is higher or lower."""
    return "higher" if found.mean > 0 else "lower"


def notes(comparison: Comparison) -> list[Note]:
    """What the reader must know about the differences of this table."""
    if not comparison.differences:
        return []
    found = [_how(comparison), *_withheld(comparison)]
    if comparison.adjusted:
        found.append(_verdicts(comparison))
        found += _undecided(comparison)
    found += [f"Earlier looks. {text}" for text in comparison.standing.notes]
    if comparison.departing:
        names = ", ".join(comparison.departing)
        found.append(f"Unlike the other rows in how much seeds vary: {names}. The intervals of such a row rest on its "
                     "own seeds, and with two or three of these may be too narrow.")  # fmt: skip
    return [Note(text, about=COMPARED) for text in found]


def _how(comparison: Comparison) -> str:
    against = f" against {comparison.baseline}" if comparison.baseline is not None else ""
    text = (
        f"Δ: percentage points{against}, paired by video and seed; variances between seeds from all rows of the study."
    )
    if comparison.adjusted:
        text += (f" Intervals: 95 %, widened for look {comparison.standing.look}; they exclude 0 where p < 0.05, which "
                 f"stands for that look's level, {comparison.standing.level:g}.")  # fmt: skip
    return text


def _withheld(comparison: Comparison) -> list[str]:
    standing = comparison.standing
    if standing.withheld:
        return [withheld_text(standing)]
    reasons: dict[str, list[str]] = {}
    for pair, why in comparison.unclaimed.items():
        reasons.setdefault(why, []).append(pair[0])
    said = [f"No claim about {', '.join(rows)}: {why}." for why, rows in reasons.items()]
    return [*said, *([f"{standing.margin_withheld}."] if standing.margin_withheld else [])]


def withheld_text(standing: Standing) -> str:
    """Why a table claims nothing."""
    return f"{'Interim, no claims' if standing.interim else 'No claims'}: {standing.withheld}."


def _why(comparison: Comparison, pair: Pair) -> str:
    return comparison.standing.withheld or comparison.unclaimed.get(pair, "")


def _verdicts(comparison: Comparison) -> str:
    text = "Verdicts by Holm over the table: different (stars: p < 0.05, 0.01, 0.001)"
    if comparison.margin is not None and not comparison.standing.margin_withheld:
        text += f", equal within {comparison.margin:g} points (two one-sided tests)"
    return f"{text}, or undecided."


def _undecided(comparison: Comparison) -> list[str]:
    pairs = [pair for pair in comparison.adjusted if comparison.verdict(pair) == "undecided"]
    if not pairs:
        return []
    names = {pair: pair[0] if pair[1] == comparison.baseline else f"{pair[0]} against {pair[1]}" for pair in pairs}
    said = "; ".join(f"{name}: {seeds_text(comparison, pair)}" for pair, name in names.items())
    lines = [f"What would show the differences that are undecided, with 80 % power at a further look, as far as these "
             f"seeds tell: {said}."]  # fmt: skip
    if comparison.margin is not None:
        needed = {name: comparison.seeds_to_equal(pair) for pair, name in names.items()}
        said = "; ".join(f"{name}: {f'{n} seeds' if n else 'out of reach'}" for name, n in needed.items())
        lines.append(f"What would show that they are within {comparison.margin:g} points, if there is none: {said}.")
    return lines


def _delta(comparison: Comparison, row: str, state: State) -> Cell:
    if row == comparison.baseline:
        return Cell("baseline")
    pair = (row, comparison.baseline or "")
    if pair not in comparison.differences:
        return Cell(state=state) if state is not State.FINISHED else Cell()
    return _cell(comparison, pair)


def _cell(comparison: Comparison, pair: Pair) -> Cell:
    from reports.statistics import stars

    found = comparison.differences[pair]
    return Cell(
        found.mean,
        signed=True,
        decimals=1,
        interval=found.interval,
        values=tuple(found.per_seed.values()),
        stars=stars(comparison.adjusted[pair]) if pair in comparison.adjusted else "",
    )
