"""What the paper's own numbers could have resolved: two seeds, one validation set, no per-video answers."""

from __future__ import annotations

from dataclasses import dataclass

from reports import paper
from reports.statistics.power import GOAL, Design, assumed, detectable, detectable_margin, power, seeds_needed

VIDEOS = {7: 24_777, 8: 20_000}
"""Validation videos: Something-Something V2 as distributed (Tables 2-7), Kinetics-400 (Section 4.1)."""
SEEDS = 2
"""'Our implementation and FAR use the mean of two random seed results' (captions of Tables 7 and 8)."""

SEED_SD, DISAGREEMENT = 0.15, 10.0
"""Assumed, favourably to the paper: standard deviation over seeds of one row in points, and the share of videos in
percent that exactly one of two rows answers. ``farlab power --table N`` measures both on one's own trials."""

ROUNDING = 0.1
"""Points that rounding to one decimal can make of no difference."""

REFERENCE = {2: "Global", 3: "w/o Bottleneck", 4: "Global-Mean", 5: "1:1", 6: "Before Attention"}
"""The row that the paper's text compares the others with (Section 4.3)."""

PAIRS = {
    number: [
        (f"FAR ({method}) {size}", f"{method} {size}") for method in ("VideoMAE", "MVD") for size in ("ViT-S", "ViT-B")
    ]
    for number in (7, 8)
}
"""FAR against the model that it fine-tunes otherwise (Section 4.4)."""


@dataclass(frozen=True)
class Claim:
    """One published difference and what it would have taken to see it."""

    table: int
    row: str
    reference: str
    difference: float
    power: float
    detectable: float
    """Smallest difference that two seeds find with 80 % power."""
    seeds_needed: int | None
    within_rounding: bool
    """Whether the difference is no larger than what rounding to one decimal can make of nothing."""

    @property
    def resolvable(self) -> bool:
        """Whether the published design had at least 80 % power for a difference of this size."""
        return self.power >= GOAL


def claims(seed_sd: float = SEED_SD, disagreement: float = DISAGREEMENT, seeds: int = SEEDS) -> list[Claim]:
    """Return every top-1 difference that the paper's text rests on."""
    return [claim for number in (*REFERENCE, *PAIRS) for claim in claims_of(number, seed_sd, disagreement, seeds)]


def claims_of(
    number: int, seed_sd: float = SEED_SD, disagreement: float = DISAGREEMENT, seeds: int = SEEDS
) -> list[Claim]:
    """Return the differences that the paper's text draws from one table."""
    printed = paper.paper_table(number)
    if number in REFERENCE:
        pairs = [(row.name, REFERENCE[number]) for row in printed.rows if row.name != REFERENCE[number]]
    else:
        pairs = PAIRS[number]
    design = design_of(number, seed_sd, disagreement)
    limit = detectable(design, seeds)
    found = []
    for name, reference in pairs:
        difference = round(_top1(printed, name) - _top1(printed, reference), 1)
        needed = seeds_needed(difference, design) if difference else None
        chance = power(difference, design, seeds)
        found.append(Claim(number, name, reference, difference, chance, limit, needed, abs(difference) <= ROUNDING))
    return found


def design_of(number: int, seed_sd: float = SEED_SD, disagreement: float = DISAGREEMENT) -> Design:
    """Return one comparison of a table of the paper, all rows of which inform the variance between seeds."""
    rows = len(paper.paper_table(number).rows) if number in REFERENCE else 2 * len(PAIRS[number])
    return Design(assumed(seed_sd, disagreement), VIDEOS.get(number, VIDEOS[7]), rows)


def within_reach(number: int, margin: float | None) -> str:
    """Say which verdicts the paper's own seeds could have reached in one of its tables."""
    found = claims_of(number)
    yes = [f"{claim.row} ({claim.difference:+.1f})" for claim in found if claim.resolvable]
    text = (
        f"The paper's own {SEEDS} seeds, if rows vary by {SEED_SD:g} points between them and {DISAGREEMENT:g} % of "
        f"videos are answered by just one of two rows: differences from {found[0].detectable:.1f} points on, one at a "
        f"time and with 80 % power; of its {len(found)} here: {', '.join(yes) or 'none'}"
    )
    reach = detectable_margin(design_of(number), SEEDS)
    text += f"; equality within {reach:.1f} points"
    return f"{text}, so {'' if reach <= margin else 'not '}within {margin:g}." if margin is not None else f"{text}."


def _top1(printed: paper.PaperTable, name: str) -> float:
    row = printed.row(name)
    assert row is not None, name
    value = row.numbers["top1"]
    assert value is not None, name
    return value
