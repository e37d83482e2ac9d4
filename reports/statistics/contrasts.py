"""Effects of a factorial: contrasts over all of its rows, in the model of ``reports.statistics.study``.

For seed s and video v, d_sv is the weighted sum over rows of 1 (answered) or 0: delta + a_s + b_v + e_sv, as for a pair
of rows, whose weights are 1 and -1. A seed's variance is the rows' moderated variances, each times its squared weight.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from reports.statistics.outcomes import Outcomes, on_common_videos
from reports.statistics.study import PSEUDO, SIZE, SeedVariance, seed_variances

MOST_CROSSED = 3
"""Components whose interactions of every order are estimated; of more, those of two."""


@dataclass(frozen=True)
class Effect:
    """What a set of components together does, in percentage points.

    Attributes:
        components: one for a main effect: the mean with it minus the mean without, over all settings of the others.
            Two for their interaction: by how much the effect of either grows when the other is there. Three: by how
            much such an interaction grows.
        mean: over shared seeds and videos.
        se: of the mean.
        df: degrees of freedom behind it.
        interval: of this look's level; None with one seed.
        p: two-sided, scaled so that 0.05 is the look's level; None with one seed.
        per_seed: the effect of each shared seed.
        aliases: effects of which these rows tell no more than a sum or difference with this one.
    """

    components: tuple[str, ...]
    mean: float
    se: float
    df: float
    interval: tuple[float, float] | None
    p: float | None
    per_seed: Mapping[int, float]
    aliases: tuple[tuple[str, ...], ...] = ()


def effects_to_estimate(components: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the effects that are estimated: main effects, then interactions."""
    most = len(components) if len(components) <= MOST_CROSSED else 2
    return [some for order in range(1, most + 1) for some in itertools.combinations(components, order)]


def signs_of(effect: Collection[str], present: Mapping[str, Collection[str]]) -> NDArray[np.int64]:
    """Return +1 or -1 for each row of a design: the product over the effect's components, present +1, absent -1."""
    return np.array([(-1) ** sum(name not in row for name in effect) for row in present.values()])


def factorial_effects(
    rows: Mapping[str, Outcomes],
    present: Mapping[str, Collection[str]],
    components: Sequence[str],
    *,
    level: float = SIZE,
    spread: Mapping[str, SeedVariance] | None = None,
) -> list[Effect]:
    """Estimate main effects and interactions.

    Args:
        rows: correctness of every row of the design; others are not looked at.
        present: which components each row of the design has.
        components: what the design crosses.
        level: of this look.
        spread: of ``seed_variances`` over all rows of the study, where it is known.

    Returns:
        One effect for each set of components that these rows can tell from the earlier ones; none where the rows share
        no seed.
    """
    design = {name: rows[name] for name in present}
    seeds = sorted(set.intersection(*(set(row.correct) for row in design.values()))) if design else []
    if not seeds:
        return []
    spread = seed_variances(rows) if spread is None else spread
    correct, videos = _stacked(design, seeds)
    found: list[Effect] = []
    columns: dict[bytes, int] = {}
    aliased: dict[int, list[tuple[str, ...]]] = {}
    for names in effects_to_estimate(components):
        signs = signs_of(names, present)
        column = (signs * signs[0]).tobytes()  # an alias may have the other sign
        if column in columns:
            aliased.setdefault(columns[column], []).append(names)
            continue
        if abs(signs.sum()) == len(signs):
            continue  # these rows do not vary it
        columns[column] = len(found)
        weights = signs * 2.0 ** len(names) / len(signs)
        found.append(_effect(names, weights, correct, videos, seeds, [spread.get(name) for name in design], level))
    return [_with_aliases(effect, aliased.get(number, [])) for number, effect in enumerate(found)]


def _with_aliases(effect: Effect, aliases: Sequence[tuple[str, ...]]) -> Effect:
    return replace(effect, aliases=tuple(aliases))


def _stacked(design: Mapping[str, Outcomes], seeds: Sequence[int]) -> tuple[NDArray[np.bool_], int]:
    """Return correctness of shape (rows, seeds, videos) on the videos that any row answered, and the number in all."""
    rows = on_common_videos(*design.values())
    correct = np.array([[row.correct[seed] for seed in seeds] for row in rows])
    return correct, max(len(rows[0].ids), *(row.expected for row in rows))


def _effect(
    names: tuple[str, ...],
    weights: NDArray[np.float64],
    correct: NDArray[np.bool_],
    videos: int,
    seeds: Sequence[int],
    spread: Sequence[SeedVariance | None],
    level: float,
) -> Effect:
    n = len(seeds)
    by_cell = np.tensordot(weights, correct, axes=1)  # (seeds, videos)
    by_seed = by_cell.sum(axis=1) / videos
    mean = float(by_seed.mean())
    by_video = by_cell.mean(axis=0)
    squares = float(by_video @ by_video)
    of_videos = (squares - videos * mean**2) / max(videos - 1, 1)
    per_seed = dict(zip(seeds, (100 * by_seed).tolist(), strict=True))
    if n == 1:
        return Effect(names, 100 * mean, 100 * float(np.sqrt(of_videos / videos)), np.inf, None, None, per_seed)
    residual = float((by_cell**2).sum()) - videos * float(by_seed @ by_seed) - n * squares + n * videos * mean**2
    noise = max(residual, 0.0) / ((n - 1) * max(videos - 1, 1))
    video = max(of_videos - noise / n, 0.0)
    between, df_between = _between(by_seed, noise / videos, weights, spread)
    of_pseudo = PSEUDO * float(weights @ weights) / 2 / videos**2
    parts = np.array([between / n, video / videos + of_pseudo])
    variance = float(parts.sum())
    shares = parts / variance
    df = 1 / (shares[0] ** 2 / df_between + shares[1] ** 2 / max(videos - 1, 1))
    se = float(np.sqrt(variance))
    half = float(special.stdtrit(df, 1 - level / 2)) * se
    p = min(1.0, 2 * float(special.stdtr(df, -abs(mean) / se)) * SIZE / level)
    return Effect(names, 100 * mean, 100 * se, df, (100 * (mean - half), 100 * (mean + half)), p, per_seed)


def _between(
    by_seed: NDArray[np.float64], least: float, weights: NDArray[np.float64], spread: Sequence[SeedVariance | None]
) -> tuple[float, float]:
    """Return the variance of a seed's mean, and its degrees of freedom; see ``reports.statistics.study``."""
    known = [each for each in spread if each is not None]
    if len(known) < len(spread):
        return max(float(by_seed.var(ddof=1)), least), float(len(by_seed) - 1)
    parts = weights**2 * np.array([each.value for each in known])
    value, df = float(parts.sum()), np.array([each.df for each in known])
    spent = float((parts**2 / df).sum())
    most = float(df.max())
    return value, min(value**2 / spent, most) if spent > 0 else most
