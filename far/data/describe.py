"""What is in a data set: numbers, and pictures of clips as the network gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from far.config.schema import TrialConfig
from far.data.loader import EvalStream, TrainStream
from far.data.manifest import Manifest, Video


def statistics(manifest: Manifest) -> dict[str, Any]:
    """Return counts and the spread of length, rate and size, by split."""
    splits = sorted({video.split for video in manifest.videos})
    return {
        "source": manifest.source,
        "content_hash": manifest.content_hash,
        "classes": manifest.classes,
        "splits": {split: _split_statistics(manifest.split(split), manifest) for split in splits},
    }


def _split_statistics(videos: list[Video], manifest: Manifest) -> dict[str, Any]:
    known = [video for video in videos if video.frames]
    labels = [video.label for video in videos if video.label >= 0]
    counts = np.bincount(labels, minlength=manifest.classes) if labels else np.zeros(1, int)
    published = manifest.note.get("published")
    return {
        "videos": len(videos),
        "published": published.get(videos[0].split) if isinstance(published, dict) else None,
        "unreadable": len(videos) - len(known),
        "unlabelled": len(videos) - len(labels),
        "videos_per_class": _spread(counts),
        "frames": _spread([video.frames for video in known]),
        "fps": _spread([video.fps for video in known]),
        "short_side": _spread([min(video.width, video.height) for video in known]),
    }


def _spread(values: Any) -> dict[str, float] | None:
    array = np.asarray(values, float)
    if not array.size:
        return None
    return {"min": float(array.min()), "median": float(np.median(array)), "max": float(array.max())}


def contact_sheet(manifest: Manifest, config: TrialConfig, split: str, count: int, path: Path) -> list[str]:
    """Draw clips exactly as the network gets them, one a row, and return their ids.

    Args:
        manifest: the data set.
        config: clip size, sampling and, for the training split, augmentation.
        split: whose videos; the training split is drawn augmented.
        count: clips to draw.
        path: image file to write; its suffix decides the format.
    """
    from matplotlib.figure import Figure

    if split == "train":
        recipe = config.recipe.model_copy(update={"batch_size": min(count + count % 2, len(manifest.split(split)))})
        config = config.model_copy(update={"recipe": recipe})
        batch = next(TrainStream(manifest, config, rank=0, world=1, micro_batch=recipe.batch_size).epoch(0))
        clips, ids, targets = batch.clips, batch.ids, batch.targets
        labels = targets.argmax(1) if targets.is_floating_point() else targets
    else:
        view = next(iter(EvalStream(manifest, config, split, rank=0, world=1, micro_batch=count)))
        clips, ids, labels = view.clips, view.ids, view.labels
    mean, std = (np.array(v).reshape(1, 3, 1, 1, 1) for v in (config.data.mean, config.data.std))
    pictures = np.clip(clips.numpy() * std + mean, 0, 1).transpose(0, 2, 3, 4, 1)[:count]
    rows, columns = pictures.shape[:2]
    figure = Figure(figsize=(columns, 1.25 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, line in enumerate(axes):
        for column, place in enumerate(line):
            place.imshow(pictures[row, column])
            place.axis("off")
        name = manifest.labels[int(labels[row])] if int(labels[row]) >= 0 else "unlabelled"
        line[0].set_title(f"{ids[row]}: {name}", fontsize=7, loc="left")
    figure.savefig(path, dpi=100)
    return list(ids[:count])
