"""Evaluation: every view's scores are kept; a video's answer is the mean of its views' softmax.

A video that could not be read is unanswered: it counts in the denominator and is never replaced by another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from far.distributed import World
from far.evaluate.metrics import METRICS, ranks
from far.store import correctness
from far.store.atomic import write_atomic


@dataclass
class Predictions:
    """One entry a view: ids, labels, temporal clip and spatial crop, and logits of shape (views, classes)."""

    ids: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    crops: list[int] = field(default_factory=list)
    logits: list[NDArray[np.float32]] = field(default_factory=list)

    def extend(self, other: Predictions) -> None:
        """Append another rank's views."""
        for name in ("ids", "labels", "clips", "crops", "logits"):
            getattr(self, name).extend(getattr(other, name))

    def write(self, path: Path) -> None:
        """Write ``predictions.parquet`` atomically, sorted by video and view; each view once."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        order = sorted(range(len(self.ids)), key=lambda i: (self.ids[i], self.clips[i], self.crops[i]))
        keys = [(self.ids[i], self.clips[i], self.crops[i]) for i in order]
        order = [i for n, i in enumerate(order) if n == 0 or keys[n] != keys[n - 1]]
        table = pa.table(
            {
                "id": pa.array([self.ids[i] for i in order], pa.string()),
                "label": pa.array([self.labels[i] for i in order], pa.int32()),
                "clip": pa.array([self.clips[i] for i in order], pa.int16()),
                "crop": pa.array([self.crops[i] for i in order], pa.int16()),
                "logits": pa.array([self.logits[i] for i in order], pa.list_(pa.float32())),
            }
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_atomic(path, sink.getvalue().to_pybytes())


@dataclass(frozen=True)
class Scores:
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


def score(predictions: Predictions, expected: int) -> Scores:
    """Merge the views of each video (mean of their softmax, duplicates of a view dropped) and score them.

    Args:
        predictions: views of any number of videos, in any order.
        expected: videos that should have been answered; the denominator of both accuracies.
    """
    if not predictions.ids:
        return Scores({name: 0.0 if m.larger_is_better else float("nan") for name, m in METRICS.items()}, 0, expected)
    logits = np.stack(predictions.logits).astype(np.float64)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    views: dict[str, dict[tuple[int, int], int]] = {}
    for index, name in enumerate(predictions.ids):
        views.setdefault(name, {}).setdefault((predictions.clips[index], predictions.crops[index]), index)
    names = sorted(views)
    chosen = [list(views[name].values()) for name in names]
    merged = np.stack([probabilities[indices].mean(axis=0) for indices in chosen])
    labels = np.array([predictions.labels[indices[0]] for indices in chosen])
    return Scores(
        {name: metric.compute(merged, labels, expected) for name, metric in METRICS.items()},
        evaluated=len(labels),
        expected=expected,
        answers=correctness.pack(names, ranks(merged, labels), merged.shape[1]),
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
    """Run a model over this rank's views and return the views of all ranks, on every rank.

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
    with torch.no_grad():
        for batch in batches if filler is None else _in_step(batches, world):
            if batch is None:
                model(filler.to(world.device, dtype))
                continue
            clips = arrange(batch.clips, batch.ids).to(world.device, dtype, non_blocking=True)
            mine.logits.extend(model(clips).float().cpu().numpy())
            mine.ids.extend(batch.ids)
            mine.labels.extend(int(label) for label in batch.labels)
            mine.clips.extend(int(clip) for clip in batch.clip)
            mine.crops.extend(int(crop) for crop in batch.crop)
            on_batch(len(mine.ids))
    if world.size == 1:
        return mine
    gathered: list[Predictions] = [Predictions() for _ in range(world.size)]
    torch.distributed.all_gather_object(gathered, mine)
    everyone = Predictions()
    for part in gathered:
        everyone.extend(part)
    return everyone


def _in_step(batches: Iterable[Any], world: World) -> Iterator[Any]:
    """Yield this rank's batches, then None for as long as another rank still has one."""
    import torch

    source = iter(batches)
    while True:
        batch = next(source, None)
        left = torch.tensor([batch is not None], dtype=torch.int32, device=world.device)
        torch.distributed.all_reduce(left)
        if not left.item():
            return
        yield batch
