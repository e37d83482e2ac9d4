"""What a table may say of its differences: different, equal within a margin, or undecided."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from reports.statistics.paired import Difference

STARS = (0.05, 0.01, 0.001)
LEVELS = (0.045, 0.01, 0.005, 0.003, 0.002, 0.002, 0.0015, 0.0015)
"""Level of each look at a study: the planned one, and what is left for seeds added after it. They add up to 0.07,
whatever the looks have in common; looks after every seed, which have much in common, err in 5 % (see
``docs/statistics.md``). After the last there are no new claims."""

Name = TypeVar("Name", bound=Hashable)


class Verdict(StrEnum):
    """What is claimed of one difference."""

    DIFFERENT = "different"
    EQUAL = "equal"
    UNDECIDED = "undecided"


def level_of_look(look: int) -> float | None:
    """Return the level of a look, counted from 1; None once the error of a study is spent."""
    return LEVELS[look - 1] if look <= len(LEVELS) else None


def adjust(differences: Mapping[Name, Difference]) -> tuple[dict[Name, float], dict[Name, float]]:
    """Adjust the p values of one table for their number, those of equality together with those of difference.

    Returns:
        By comparison, of difference and of equality; comparisons without a p are in neither.
    """
    differ = {name: d.p for name, d in differences.items() if d.p is not None}
    equal = {name: d.p_equal for name, d in differences.items() if d.p_equal is not None}
    adjusted = holm([*differ.values(), *equal.values()], most=len(differ))
    return (
        dict(zip(differ, adjusted, strict=False)),
        dict(zip(equal, adjusted[len(differ) :], strict=True)),
    )


def holm(ps: Sequence[float], *, most: int | None = None) -> list[float]:
    """Return adjusted p values, in the order given (Holm, *Scandinavian Journal of Statistics* 6, 1979).

    Args:
        ps: of the hypotheses.
        most: number of them that can be true together, where fewer than all (Shaffer, *Journal of the American
            Statistical Association* 81, 1986): a difference is not both 0 and beyond a margin. statsmodels' and
            scipy's procedures do not know such limits.
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        hypotheses = min(len(ps) - rank, len(ps) if most is None else most)
        largest = max(largest, min(1.0, hypotheses * ps[index]))
        adjusted[index] = largest
    return adjusted


def verdict(differ: float | None, equal: float | None) -> Verdict:
    """Return what adjusted p values of difference and of equality allow to say; a difference comes first."""
    if differ is not None and differ < STARS[0]:
        return Verdict.DIFFERENT
    return Verdict.EQUAL if equal is not None and equal < STARS[0] else Verdict.UNDECIDED


def stars(p: float) -> str:
    """``*`` below 0.05, ``**`` below 0.01, ``***`` below 0.001."""
    return "*" * sum(p < level for level in STARS)
