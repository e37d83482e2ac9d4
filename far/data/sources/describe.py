"""What is in a data set: numbers, and pictures of clips as the network gets them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from far.config.trial import TrialConfig
from far.data.batch import UNREADABLE
from far.data.loader import EvalStream, TrainStream
from far.data.sources.diagnostics import one_line, some
from far.data.sources.manifest import Manifest, Video
from far.data.sources.resized import account
from far.errors import ConfigError, DataError
from far.pictures import save_picture

if TYPE_CHECKING:
    import torch


def statistics(manifest: Manifest) -> dict[str, Any]:
    """Return counts and the spread of length, rate and size, by split."""
    splits = sorted({video.split for video in manifest.videos})
    return {
        "source": manifest.source,
        "content_hash": manifest.content_hash,
        "classes": manifest.classes,
        "resized": account(manifest.note) or None,
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
        "fps": _spread([video.fps for video in known if video.fps > 0 and math.isfinite(video.fps)]),
        "short_side": _spread([min(video.width, video.height) for video in known]),
    }


def _spread(values: Any) -> dict[str, float] | None:
    array = np.asarray(values, float)
    if not array.size:
        return None
    return {"min": float(array.min()), "median": float(np.median(array)), "max": float(array.max())}


PICTURES = ("png", "jpg", "jpeg", "webp", "tif", "tiff", "pdf", "svg")
"""Suffixes of the pictures that ``contact_sheet`` writes."""


@dataclass(frozen=True)
class _Clip:
    """A clip to draw: frames (T, H, W, 3) in [0, 1], what it is of, and the class that the network is to learn."""

    frames: NDArray[np.float64]
    name: str
    label: int


def contact_sheet(manifest: Manifest, config: TrialConfig, split: str, count: int, path: Path) -> list[str]:
    """Draw clips exactly as the network gets them, one per row, and return what they are of.

    Args:
        manifest: the data set.
        config: clip size, sampling and, for the training split, augmentation.
        split: whose videos; the training split is drawn augmented, the others with all their views.
        count: clips to draw.
        path: image file to write; its suffix decides the format.

    Raises:
        ConfigError: no picture has this suffix, it cannot be written, or there is no such split.
        DataError: no video of the split can be read.
    """
    from matplotlib.figure import Figure

    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in PICTURES:
        raise ConfigError(f"no picture has the suffix '{path.suffix}'", where="--out", choices=PICTURES, got=suffix)
    clips = _train_clips(manifest, config, count) if split == "train" else _views(manifest, config, split, count)
    figure = Figure(figsize=(len(clips[0].frames), 1.25 * len(clips)), layout="constrained")
    axes = figure.subplots(len(clips), len(clips[0].frames), squeeze=False)
    for line, clip in zip(axes, clips, strict=True):
        for place, frame in zip(line, clip.frames, strict=True):
            place.imshow(frame)
            place.axis("off")
        label = one_line(manifest.labels[clip.label]) if clip.label >= 0 else "unlabelled"
        # a dollar is no formula, and a long name does not push the pictures apart
        title = line[0].set_title(f"{clip.name}: {label}", fontsize=7, loc="left", parse_math=False)
        title.set_in_layout(False)
    try:
        save_picture(figure, path, dpi=100, format=suffix)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", where="--out") from None
    return [clip.name for clip in clips]


def _train_clips(manifest: Manifest, config: TrialConfig, count: int) -> list[_Clip]:
    size = min(count + count % 2, len(manifest.split("train")))
    config = config.model_copy(update={"recipe": config.recipe.model_copy(update={"batch_size": size})})
    stream = TrainStream(manifest, config, rank=0, world=1, micro_batch=size)

    def clips() -> Iterator[_Clip]:
        for batch in stream.epoch(0):
            labels = batch.targets.argmax(1) if batch.targets.is_floating_point() else batch.targets
            for frames, name, label in zip(_pictures(batch.clips, config), batch.ids, labels, strict=True):
                if name != UNREADABLE:
                    yield _Clip(frames, one_line(name), int(label))

    return _first(clips(), count, stream.failures, "train")


def _views(manifest: Manifest, config: TrialConfig, split: str, count: int) -> list[_Clip]:
    stream = EvalStream(manifest, config, split, rank=0, world=1, micro_batch=count, needs_labels=False)
    several = config.data.views.clips * config.data.views.crops > 1

    def clips() -> Iterator[_Clip]:
        for batch in stream:
            views = zip(_pictures(batch.clips, config), batch.ids, batch.labels, batch.clip, batch.crop, strict=True)
            for frames, name, label, clip, crop in views:
                view = f" (clip {clip + 1}, crop {crop + 1})" if several else ""
                yield _Clip(frames, one_line(name) + view, int(label))

    return _first(clips(), count, stream.failures, split)


def _pictures(clips: torch.Tensor, config: TrialConfig) -> NDArray[np.float64]:
    """Return frames (B, T, H, W, 3) in [0, 1] of normalised clips (B, 3, T, H, W)."""
    mean, std = (np.array(v).reshape(1, 3, 1, 1, 1) for v in (config.data.mean, config.data.std))
    return np.clip(clips.numpy() * std + mean, 0, 1).transpose(0, 2, 3, 4, 1)


def _first(clips: Iterator[_Clip], count: int, failures: dict[str, str], split: str) -> list[_Clip]:
    found = list(islice(clips, count))
    if not found:
        reasons = some((f"{one_line(name)}: {why}" for name, why in failures.items()), shown=3)
        raise DataError(f"no video of the split '{split}' can be read: {reasons}")
    return found
