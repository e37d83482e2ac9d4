"""What the paper's own numbers could have resolved: two seeds, one validation set, no per-video answers."""

from __future__ import annotations

from dataclasses import dataclass

from reports import paper
from reports.statistics.power import assumed, detectable, power, seeds_needed

VIDEOS = {7: 24_777, 8: 20_000}
"""Validation videos: Something-Something V2 as distributed (Tables 2-7), Kinetics-400 (Section 4.1)."""
SEEDS = 2
"""'Our implementation and FAR use the mean of two random seed results' (captions of Tables 7 and 8)."""

SEED_SD, DISAGREEMENT = 0.15, 10.0
"""Assumed, favourably to the paper: standard deviation over seeds of one row in points, and the share of videos in
percent that exactly one of two rows answers. ``farlab power --table N`` measures both on one's own trials."""

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
        return self.power >= 0.8


def claims(seed_sd: float = SEED_SD, disagreement: float = DISAGREEMENT, seeds: int = SEEDS) -> list[Claim]:
    """Return every top-1 difference that the paper's text rests on."""
    own = assumed(seed_sd, disagreement)
    found = []
    for number in (*REFERENCE, *PAIRS):
        printed = paper.paper_table(number)
        if number in REFERENCE:
            pairs = [(r.name, REFERENCE[number]) for r in printed.rows if r.name != REFERENCE[number]]
        else:
            pairs = PAIRS[number]
        videos = VIDEOS.get(number, VIDEOS[7])
        limit = detectable(own, seeds, videos)
        for name, reference in pairs:
            difference = round(_top1(printed, name) - _top1(printed, reference), 1)
            needed = seeds_needed(difference, own, videos) if difference else None
            chance = power(difference, own, seeds, videos)
            found.append(Claim(number, name, reference, difference, chance, limit, needed, abs(difference) <= 0.1))
    return found


def _top1(printed: paper.PaperTable, name: str) -> float:
    row = printed.row(name)
    assert row is not None, name
    value = row.numbers["top1"]
    assert value is not None, name
    return value
