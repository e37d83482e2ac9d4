"""Evaluation: every view's scores are kept; a video's answer is the mean of its views' softmax.

A video that could not be read is unanswered: it counts in the denominator and is never replaced by another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from far.collectives import greatest_over_ranks, sum_over_ranks
from far.distributed import World
from far.evaluate.metrics import METRICS, Scores, softmax
from far.store import correctness
from far.store.atomic import write_atomic

PIECE = 4096
"""Views that are sent, merged and written at once."""


@dataclass
class Predictions:
    """One entry per view: ids, labels, temporal clip and spatial crop, and logits of shape (views, classes)."""

    ids: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    crops: list[int] = field(default_factory=list)
    logits: list[NDArray[np.float32]] = field(default_factory=list)

    def extend(self, other: Predictions) -> None:
        """Append another rank's views."""
        for name in ("ids", "labels", "clips", "crops", "logits"):
            getattr(self, name).extend(getattr(other, name))

    def piece(self, start: int, end: int) -> Predictions:
        """Return some of the views, their logits as one array (views, classes): quick to send."""
        part = slice(start, end)
        logits: Any = np.stack(self.logits[part]) if self.logits[part] else []
        return Predictions(self.ids[part], self.labels[part], self.clips[part], self.crops[part], logits)

    def write(self, path: Path) -> None:
        """Write ``predictions.parquet`` atomically, sorted by video and view; each view once."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        order = sorted(range(len(self.ids)), key=lambda i: (self.ids[i], self.clips[i], self.crops[i]))
        keys = [(self.ids[i], self.clips[i], self.crops[i]) for i in order]
        order = [i for n, i in enumerate(order) if n == 0 or keys[n] != keys[n - 1]]
        schema = pa.schema(
            {
                "id": pa.string(),
                "label": pa.int32(),
                "clip": pa.int16(),
                "crop": pa.int16(),
                "logits": pa.list_(pa.float32()),
            }
        )

        def write(stream: IO[bytes]) -> None:
            with pq.ParquetWriter(stream, schema, use_dictionary=["id"]) as writer:
                for start in range(0, len(order), PIECE):
                    rows = order[start : start + PIECE]
                    logits = np.stack([self.logits[i] for i in rows])
                    ends = np.arange(len(rows) + 1, dtype=np.int32) * logits.shape[1]
                    columns = [[each[i] for i in rows] for each in (self.ids, self.labels, self.clips, self.crops)]
                    lists = pa.ListArray.from_arrays(ends, pa.array(logits.ravel(), pa.float32()))
                    arrays = [pa.array(c, t) for c, t in zip(columns, schema.types, strict=False)]
                    writer.write_table(pa.table([*arrays, lists.cast(schema.types[-1])], schema=schema))

        write_atomic(path, write)


@dataclass(frozen=True)
class Evaluation:
    """What a test came to: every registered metric by name (``far.evaluate.metrics``)."""

    metrics: dict[str, float]
    evaluated: int
    expected: int
    answers: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Which videos were answered correctly (``far.store.correctness``)."""

    @property
    def top1(self) -> float:
        """Accuracy."""
        return self.metrics["top1"]

    @property
    def top5(self) -> float:
        """Accuracy among the five likeliest classes."""
        return self.metrics["top5"]

    @property
    def loss(self) -> float:
        """Cross-entropy."""
        return self.metrics["loss"]


def merge(predictions: Predictions) -> Scores:
    """Return the mean over each video's views of their softmax; a view that is there twice counts once.

    Args:
        predictions: views of any number of videos, in any order.
    """
    views: dict[str, dict[tuple[int, int], int]] = {}
    for index, (name, clip, crop) in enumerate(zip(predictions.ids, predictions.clips, predictions.crops, strict=True)):
        views.setdefault(name, {}).setdefault((clip, crop), index)
    names = sorted(views)
    chosen = [list(views[name].values()) for name in names]
    labels = np.array([predictions.labels[indices[0]] for indices in chosen], np.int64)
    classes = len(predictions.logits[0]) if predictions.logits else 0
    merged, start = np.empty((len(names), classes)), 0
    while start < len(names):  # in pieces: all views in 64 bits are gigabytes
        end, count = start + 1, len(chosen[start])
        while end < len(names) and len(chosen[end]) == count and (end + 1 - start) * count <= PIECE:
            end += 1
        piece = softmax(np.stack([predictions.logits[i] for each in chosen[start:end] for i in each]))
        merged[start:end] = piece.reshape(end - start, count, classes).mean(axis=1)
        start = end
    return Scores(names, labels, merged)


def score(predictions: Predictions, expected: int) -> Evaluation:
    """Merge the views of each video (see ``merge``) and score them.

    Args:
        predictions: views of any number of videos, in any order.
        expected: videos that should have been answered; the denominator of both accuracies.
    """
    if not predictions.ids:
        return Evaluation(
            {name: 0.0 if m.larger_is_better else float("nan") for name, m in METRICS.items()}, 0, expected
        )
    merged = merge(predictions)
    labels, probabilities = merged.labels, merged.probabilities
    return Evaluation(
        {name: metric.compute(probabilities, labels, expected) for name, metric in METRICS.items()},
        evaluated=len(labels),
        expected=expected,
        answers=correctness.pack(merged.ids, merged.ranks, merged.classes),
    )


def predict(
    model: Callable[[Any], Any],
    batches: Iterable[Any],
    world: World,
    *,
    dtype: Any,
    arrange: Callable[[Any, list[str]], Any] = lambda clips, ids: clips,
    on_batch: Callable[[int], None] = lambda done: None,
    filler: Any = None,
) -> Predictions:
    """Run a model over this rank's views and return those of all ranks on rank 0, this rank's own on the others.

    Args:
        model: maps clips (B, 3, T, H, W) to logits (B, classes); put into evaluation mode by the caller.
        batches: what ``far.data.loader.EvalStream`` yields.
        world: this process's place.
        dtype: floating type that the model takes.
        arrange: changes the order of frames before the model sees them (``far.evaluate.frame_order``).
        on_batch: called with the number of views done so far.
        filler: clips for a rank that has run out of views while others have not; needed where a forward pass is a
            collective, as under ZeRO-3. None: ranks go at their own pace.
    """
    import torch

    mine = Predictions()

    def keep(batch: Any, logits: Any) -> None:
        mine.logits.extend(logits.float().cpu().numpy())
        mine.ids.extend(batch.ids)
        mine.labels.extend(int(label) for label in batch.labels)
        mine.clips.extend(int(clip) for clip in batch.clip)
        mine.crops.extend(int(crop) for crop in batch.crop)
        on_batch(len(mine.ids))

    last: tuple[Any, Any] | None = None  # fetched once the device has the next batch to work on
    with torch.no_grad():
        for batch in batches if filler is None else _in_step(batches, world):
            if batch is None:
                model(filler.to(world.device, dtype))
                continue
            logits = model(arrange(batch.clips, batch.ids).to(world.device, dtype, non_blocking=True))
            if last is not None:
                keep(*last)
            last = batch, logits
        if last is not None:
            keep(*last)
    return gathered(mine, world)


def gathered(mine: Predictions, world: World) -> Predictions:
    """Return the views of all ranks on rank 0, sent piece by piece, and this rank's own on the others."""
    if world.size == 1:
        return mine
    import torch

    (longest,) = greatest_over_ranks([len(mine.ids)], world)
    others = Predictions()
    for start in range(0, longest, PIECE):
        pieces: list[Any] | None = [None] * world.size if world.is_main else None
        torch.distributed.gather_object(mine.piece(start, start + PIECE) if not world.is_main else None, pieces)
        for piece in pieces or ():
            if piece is not None:
                others.extend(piece)
    mine.extend(others)
    return mine


def score_everywhere(predictions: Predictions, expected: int, world: World) -> Evaluation:
    """Score the views that rank 0 has (see ``score``) and return the scores on every rank."""
    import torch

    scores = [score(predictions, expected) if world.is_main else None]
    if world.size > 1:
        torch.distributed.broadcast_object_list(scores, device=world.device)
    assert scores[0] is not None
    return scores[0]


def _in_step(batches: Iterable[Any], world: World) -> Iterator[Any]:
    """Yield this rank's batches, then None for as long as another rank still has one."""
    source = iter(batches)
    while sum_over_ranks((batch := next(source, None)) is not None, world):
        yield batch
