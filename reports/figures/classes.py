"""Per-class differences between two rows: where one row's gain comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from far.errors import ConfigError, DataError
from far.store.paths import TrialPaths
from reports.figures import FIGURES, Drawing, FigureSpec, Options
from reports.figures.class_names import class_names
from reports.figures.style import COLOURS, COLUMN, HEIGHT, cut, seeds_text
from reports.results.results import Results, RowResults
from reports.text import number

LONGEST_NAME = 34
"""Characters of a class's name that stand beside its bar."""


def by_class(row: RowResults, labels: Mapping[str, int]) -> NDArray[np.float64]:
    """Return accuracy in percent by seed and class, shape (seeds, classes); NaN where a class has no video.

    Args:
        row: its finished trials are read.
        labels: of the videos that count; one that a trial did not answer counts as wrong there.

    Raises:
        DataError: a trial's predictions cannot be read.
    """
    from reports.analysis.correctness import outcomes_of

    outcomes, problems = outcomes_of({row.name: row.finished})
    if problems:
        raise DataError(problems[0])
    own, counts = outcomes[row.name], np.bincount(list(labels.values())).astype(float)
    of_video = np.array([labels[name] for name in own.ids], dtype=np.int64)
    hits = [np.bincount(of_video[own.correct[trial.seed]], minlength=len(counts)) for trial in row.finished]
    return 100 * np.divide(hits, counts, out=np.full((len(hits), len(counts)), np.nan), where=counts > 0)


def answered(results: Results) -> tuple[dict[str, int], int]:
    """Return the label of every video that any finished trial answered, and how many videos none of them answered.

    The latter are wrong in every row, but nothing here tells their class.

    Raises:
        DataError: a trial's predictions cannot be read.
    """
    from reports.statistics.outcomes import read_labels

    labels: dict[str, int] = {}
    # Trials that say so answered the same videos: one file has their labels.
    apart = {(trial.result.get("answers") or {}).get("videos", trial.key): trial for trial in results.finished}
    for trial in apart.values():
        assert trial.directory is not None
        labels |= read_labels(TrialPaths(trial.directory).predictions)
    expected = max((int(trial.result.get("expected") or 0) for trial in results.finished), default=0)
    return labels, max(0, expected - len(labels))


def chosen_rows(results: Results, options: Options) -> tuple[RowResults, RowResults]:
    """Return the two rows to compare: those asked for, else the baseline and the first other finished row.

    Raises:
        ConfigError: not exactly two rows are asked for.
        DataError: fewer than two rows have finished.
    """
    if options.rows:
        if len(options.rows) != 2:
            raise ConfigError("two rows are compared: --row BASELINE --row ROW", key="--rows")
        pair = [results.row(name) for name in options.rows]
    else:
        done = [row for row in results.rows if row.finished]
        pair = sorted(done, key=lambda row: row.name != results.baseline)[:2]
    if len(pair) < 2 or not all(row.finished for row in pair):
        raise DataError("two finished rows are needed")
    return pair[0], pair[1]


def draw(results: Results | None, options: Options) -> Drawing:
    """Draw the difference of each class, sorted, with its range over seeds."""
    import matplotlib.pyplot as plt

    assert results is not None
    baseline, row = chosen_rows(results, options)
    seeds = sorted({t.seed for t in baseline.finished} & {t.seed for t in row.finished})
    if not seeds:
        raise DataError(f"{baseline.name} and {row.name} share no finished seed")
    labels, nobody = answered(results)
    shared = [RowResults(r.name, [t for t in r.finished if t.seed in seeds]) for r in (row, baseline)]
    own, base = (by_class(each, labels) for each in shared)
    differences = own - base
    mean = differences.mean(axis=0)
    known = [int(i) for i in np.argsort(mean, kind="stable") if np.isfinite(mean[i])]
    half = options.most_classes // 2
    order = known if len(known) <= options.most_classes else known[:half] + known[-half:]
    names = class_names(results.finished, len(mean), options.data_root)
    figure, axis = plt.subplots(figsize=(COLUMN, max(HEIGHT, 0.6 + 0.17 * len(order))))
    places = np.arange(len(order))
    axis.barh(places, mean[order], color=[COLOURS[0] if mean[i] >= 0 else COLOURS[1] for i in order], height=0.7)
    if len(seeds) > 1:
        low, high = differences.min(axis=0)[order], differences.max(axis=0)[order]
        axis.hlines(places, low, high, color="black", linewidth=0.8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(places, [cut(names[i], LONGEST_NAME) for i in order])
    axis.set_xlabel("points of top-1")
    axis.grid(visible=False, axis="y")
    unknown = f"without {nobody} video{'s' if nobody > 1 else ''} that no trial answered" if nobody else ""
    caption = f"Top-1 of {row.name} minus that of {baseline.name}"
    caption += (
        f", mean over {seeds_text([len(seeds)])} of both; line: their range." if len(seeds) > 1 else ", one seed."
    )
    if len(order) < len(known):
        caption += f" The {len(order)} of {len(known)} classes that differ most, at both ends."
    caption += f" It is {unknown}." if unknown else ""
    title = f"{row.name} minus {baseline.name}, by class (profile {results.profile})"
    return Drawing(
        figure,
        "\n".join(filter(None, (textwrap.fill(title, 48), unknown))),
        caption,
        f"{row.name} against {baseline.name} by class: {_said(mean, known, names)}",
    )


def _said(mean: NDArray[np.float64], known: Sequence[int], names: Sequence[str]) -> str:
    """What the bars show, in words."""
    higher, lower = (sum(1 for i in known if sign * mean[i] > 0) for sign in (1, -1))
    text = f"higher in {higher}, lower in {lower} of {len(known)} classes"
    ends = [f"{names[i]} {number(float(mean[i]), 1, signed=True)}" for i in (known[-1], known[0])]
    return f"{text}; at the ends {' and '.join(ends)} points."


FIGURES.register("classes")(FigureSpec(draw, "Differences by class", rows=chosen_rows))
