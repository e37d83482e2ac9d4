"""Rows of a two-level factorial design: all 2^k sets of components, or a regular (balanced) fraction of them.

A regular fraction 1/2^p of k components crosses k - p of them fully; each of the others is present where a product of
some of those is +1 (present: +1, taken away: -1). All columns are then balanced and orthogonal in pairs (Box, Hunter
and Hunter, *Statistics for Experimenters*, chapter 6). Effects whose columns are equal are aliased: one estimate stands
for their sum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

MOST_COMPONENTS = 8
"""Of a full factorial: 256 rows."""
MOST_ROWS = 2**MOST_COMPONENTS
MOST_COMBINATIONS = 50_000
"""Of generators that are compared; with more, they are chosen one after the other."""


def design(components: Sequence[str], fraction: int = 1) -> list[tuple[str, ...]]:
    """Return the sets of present components, one per row, the set of all components first.

    Args:
        components: their names.
        fraction: n of the fraction 1/n, a power of 2; 1 for the full design.

    Raises:
        ValueError: the fraction leaves too few rows to separate the main effects.
    """
    names = list(components)
    generators = _generators(len(names), int(math.log2(fraction)))
    base = len(names) - len(generators)
    rows = []
    for levels in itertools.product((1, -1), repeat=base):
        signs = [*levels, *(math.prod(levels[i] for i in generator) for generator in generators)]
        rows.append(tuple(name for name, sign in zip(names, signs, strict=True) if sign > 0))
    return rows


def fewest_rows(components: int) -> int:
    """Return the rows of the smallest regular fraction in which no two main effects are aliased."""
    return 2 ** math.ceil(math.log2(components + 1))


def _generators(components: int, halvings: int) -> list[tuple[int, ...]]:
    """Return for each of the last ``halvings`` components the base components whose product it is.

    The design of highest resolution is chosen, and of those the one with the fewest short words (minimum aberration).
    """
    base = components - halvings
    if 2**base < fewest_rows(components):
        raise ValueError(f"{2**base} rows cannot separate {components} components")
    possible = [subset for size in range(base, 1, -1) for subset in itertools.combinations(range(base), size)]
    if math.comb(len(possible), halvings) <= MOST_COMBINATIONS:
        best = min(itertools.combinations(possible, halvings), key=lambda some: _word_lengths(some, base))
        return list(best)
    chosen: list[tuple[int, ...]] = []
    for _ in range(halvings):
        left = [subset for subset in possible if subset not in chosen]
        chosen.append(min(left, key=lambda subset: _word_lengths((*chosen, subset), base)))
    return chosen


def _word_lengths(generators: Sequence[tuple[int, ...]], base: int) -> list[int]:
    """Return the number of words of 1, 2, 3 … letters in the defining relation, the fewer short ones the better."""
    words = [sum(1 << i for i in generator) | 1 << (base + n) for n, generator in enumerate(generators)]
    counts = [0] * (base + len(generators) + 1)
    for size in range(1, len(words) + 1):
        for chosen in itertools.combinations(words, size):
            product = 0
            for word in chosen:
                product ^= word
            counts[product.bit_count()] += 1
    return counts
