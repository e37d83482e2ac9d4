"""Which videos each trial of a row answers correctly, from the per-view scores that every trial keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from far.errors import DataError
from far.evaluate.metrics import Scores, softmax
from far.text import first_line

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Outcomes:
    """A row's answers: by seed, one truth value per video, in the order of ``ids``.

    Attributes:
        ids: videos that any of the trials answered.
        correct: by seed, of shape (ids,).
        expected: videos that should have been answered; those beyond ``ids`` nobody answered, which is wrong.
    """

    ids: Sequence[str]
    correct: Mapping[int, Bits]
    expected: int = 0

    @cached_property
    def packed(self) -> dict[int, NDArray[np.uint8]]:
        """The same eight videos a byte, by seed."""
        return {seed: np.packbits(bits) for seed, bits in self.correct.items()}

    def times(self, seeds: Sequence[int]) -> NDArray[np.int32]:
        """Return how many of these seeds answer each video, shape (ids,)."""
        if len(seeds) == len(self.correct):
            return self._times
        return np.sum([self.correct[seed] for seed in seeds], axis=0, dtype=np.int32)

    @cached_property
    def _times(self) -> NDArray[np.int32]:
        times = np.zeros(len(self.ids), dtype=np.int32)
        for bits in self.correct.values():
            times += bits
        return times


def read_labels(path: Path) -> dict[str, int]:
    """Read the label of each video that ``predictions.parquet`` answers.

    Raises:
        DataError: the file is missing or damaged.
    """
    table = _columns(path, "id", "label")
    return dict(zip(table.column("id").to_pylist(), table.column("label").to_pylist(), strict=True))


def read_ids(path: Path) -> tuple[str, ...]:
    """Read the videos that ``predictions.parquet`` answers, sorted, each once.

    Raises:
        DataError: the file is missing or damaged.
    """
    return tuple(sorted(set(_columns(path, "id").column("id").to_pylist())))


def _columns(path: Path, *names: str) -> Any:
    import pyarrow as pa  # noqa: PLC0415  (20 MiB that tables do not need: results hold the answers)
    import pyarrow.parquet as pq  # noqa: PLC0415  (see above)

    try:
        with pq.ParquetFile(path) as file:  # an order of magnitude faster for small files than pq.read_table
            if missing := [name for name in names if name not in file.schema_arrow.names]:
                raise DataError(f"{path}: has no {missing[0]}: the tracking server was not sent them")
            return file.read(columns=list(names), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: {first_line(error)}") from None


def read_scores(path: Path) -> Scores:
    """Read ``predictions.parquet`` and merge the views of each video: the mean of their softmax.

    Raises:
        DataError: the file is missing or damaged.
    """
    table = _columns(path, "id", "label", "logits")
    names = table.column("id").to_numpy()
    logits = table.column("logits").combine_chunks()
    if len(names) == 0:
        return Scores((), np.zeros(0, np.int64), np.zeros((0, 1)))
    values = softmax(logits.flatten().to_numpy(zero_copy_only=False).reshape(len(names), -1))
    labels = table.column("label").to_numpy().astype(np.int64)
    if bool(np.all(names[:-1] < names[1:])):  # one view a video, as written: sorted
        return Scores(tuple(names.tolist()), labels, values)
    ids, first, video = np.unique(names.astype(str), return_index=True, return_inverse=True)
    merged = np.zeros((len(ids), values.shape[1]))
    np.add.at(merged, video, values)
    merged /= np.bincount(video)[:, None]
    return Scores(tuple(ids.tolist()), labels[first], merged)


def stack(trials: Mapping[int, tuple[Sequence[str], Bits]], expected: int = 0) -> Outcomes:
    """Put the trials of a row on common videos; one that a trial did not answer counts as wrong there.

    Args:
        trials: by seed, the videos that were answered, and whether correctly.
        expected: videos that should have been answered, the denominator of accuracies.
    """
    every = [ids for ids, _ in trials.values()]
    if _alike(every):
        return Outcomes(every[0] if every else (), {seed: bits for seed, (_, bits) in trials.items()}, expected)
    ids, spread = _common(every)
    return Outcomes(ids, {seed: spread(names, bits) for seed, (names, bits) in trials.items()}, expected)


def on_common_videos(*rows: Outcomes) -> Sequence[Outcomes]:
    """Put rows on the videos that any trial of any answered; one that a trial did not answer counts as wrong.

    Raises:
        DataError: they answered different videos, and the lists of these cannot be read.
    """
    every = [row.ids for row in rows]
    if _alike(every):
        return rows
    ids, spread = _common(every)
    return [
        Outcomes(ids, {seed: spread(row.ids, bits) for seed, bits in row.correct.items()}, row.expected) for row in rows
    ]


def _alike(every: Sequence[Sequence[str]]) -> bool:
    return all(ids is every[0] or ids == every[0] for ids in every[1:])


def _common(every: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], Callable[[Sequence[str], Bits], Bits]]:
    """Return all videos, and what puts answers to some of them in their places."""
    ids = tuple(sorted(set().union(*every)))
    place = {name: index for index, name in enumerate(ids)}

    def spread(names: Sequence[str], bits: Bits) -> Bits:
        wide = np.zeros(len(ids), dtype=bool)
        wide[[place[name] for name in names]] = bits
        return wide

    return ids, spread
