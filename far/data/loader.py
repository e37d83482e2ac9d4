"""Batches of clips for training and evaluation.

What is in a batch depends on the seed, the epoch and the data alone: never on the number of processes, the micro-batch
or the order in which threads finish.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from far.config.schema import TrialConfig
from far.data import transform
from far.data.cache import FrameSource, open_frames
from far.data.decoder import VideoError
from far.data.manifest import Manifest, Video
from far.data.prefetch import prefetched
from far.data.sampling import SAMPLERS
from far.errors import ConfigError
from far.randomness import numpy_rng

if TYPE_CHECKING:
    import torch

UNREADABLE = "(unreadable)"
"""Id of the placeholder in a micro-batch none of whose videos could be read."""


@dataclass(frozen=True)
class Batch:
    """A micro-batch for training.

    Attributes:
        clips: normalised, (B, 3, T, H, W), float32.
        targets: classes (B,), or soft targets (B, C).
        ids: the videos' ids, one a clip.
        positions: place of each clip's video in the global batch of the step.
        failed: videos that were skipped because they could not be read. If that is all of them, one clip of zeros with
            all-zero soft targets stands in for them: its loss and gradients are zero.
    """

    clips: torch.Tensor
    targets: torch.Tensor
    ids: list[str]
    positions: list[int]
    failed: int = 0


@dataclass(frozen=True)
class EvalBatch:
    """Views for evaluation.

    Attributes:
        clips: normalised, (B, 3, T, H, W), float32.
        labels: classes (B,).
        ids: the videos' ids, one a view.
        clip: number of the temporal clip of each view.
        crop: number of the spatial crop of each view.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    ids: list[str]
    clip: list[int]
    crop: list[int]


@dataclass
class _Stream:
    """What training and evaluation share.

    Args:
        manifest: the data set.
        config: the trial.
        rank: this process's number.
        world: number of processes of the trial.
        micro_batch: clips at once.
    """

    manifest: Manifest
    config: TrialConfig
    rank: int = field(kw_only=True)
    world: int = field(kw_only=True)
    micro_batch: int = field(kw_only=True)
    frames: FrameSource | None = field(default=None, kw_only=True)
    failures: dict[str, str] = field(default_factory=dict, init=False)
    """Why a video could not be read, by id, as found so far."""

    def __post_init__(self) -> None:
        self._frames: FrameSource = self.frames or open_frames(self.manifest)
        self._sampler = SAMPLERS[self.config.data.sampling](self.config.data.stride)
        self._length, height, width = self.config.model.clip
        self._size = (height, width)

    def _normalised(self, clips: Sequence[torch.Tensor]) -> torch.Tensor:
        import torch

        return transform.normalise(torch.stack(list(clips)), self.config.data.mean, self.config.data.std)


@dataclass
class TrainStream(_Stream):
    """The training split, epoch by epoch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._videos = self.manifest.split("train")
        self._batch = self.config.recipe.batch_size
        if self._batch % (self.world * self.micro_batch):
            raise ConfigError(
                f"a batch of {self._batch} videos is not a multiple of {self.world} devices x "
                f"{self.micro_batch} videos",
                key="run.micro_batch",
            )
        if len(self._videos) < self._batch:
            raise ConfigError(
                f"a batch of {self._batch} videos is larger than the training split ({len(self._videos)})",
                key="recipe.batch_size",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps; what does not fill a batch is left for another epoch's order."""
        return len(self._videos) // self._batch

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield this rank's micro-batches in order.

        Args:
            epoch: from 0; it decides order and augmentation.
            start_step: optimiser steps to leave out at the beginning.
        """
        order = numpy_rng(self.config.seed, "order", epoch).permutation(len(self._videos))
        share = self.world * self.micro_batch
        starts = [
            (step * self._batch, micro + self.rank * self.micro_batch)
            for step in range(start_step, self.steps_per_epoch)
            for micro in range(0, self._batch, share)
        ]

        def load(start: tuple[int, int]) -> Batch:
            step, first = start
            positions = list(range(first, first + self.micro_batch))
            return self._load([self._videos[order[step + p]] for p in positions], positions, epoch)

        return prefetched(load, starts, self.config.run.workers)

    def _load(self, videos: list[Video], positions: list[int], epoch: int) -> Batch:
        import torch

        clips, kept = [], []
        for place, video in enumerate(videos):
            try:
                clips.append(self._clip(video, epoch))
                kept.append(place)
            except VideoError as error:
                self.failures[video.id] = error.reason
        failed = len(videos) - len(kept)
        if not kept:
            nothing = torch.zeros(1, 3, self._length, *self._size)
            return Batch(nothing, torch.zeros(1, self.manifest.classes), [UNREADABLE], positions[:1], failed)
        return Batch(
            self._normalised(clips),
            torch.tensor([videos[place].label for place in kept]),
            [videos[place].id for place in kept],
            [positions[place] for place in kept],
            failed,
        )

    def _clip(self, video: Video, epoch: int) -> torch.Tensor:
        rng = numpy_rng(self.config.seed, "frames", video.id, epoch, 0)
        frames = self._frames.read(video, lambda count: self._sampler.train(count, self._length, rng))
        clip = transform.resize_to_cover(transform.to_tensor(frames), self._size)
        return transform.crop(clip, self._size)


@dataclass
class EvalStream(_Stream):
    """All views of a split's videos, once; ranks take turns and nothing is padded.

    A video that cannot be read is left out and stands in ``failures``; it still counts in ``expected``.
    """

    split: str = "val"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._videos = self.manifest.split(self.split)

    @property
    def expected(self) -> int:
        """Videos of the split over all ranks, readable or not."""
        return len(self._videos)

    def __iter__(self) -> Iterator[EvalBatch]:
        views = self.config.data.views
        mine = self._videos[self.rank :: self.world]
        group = max(1, self.micro_batch // (views.clips * views.crops))
        groups = [mine[start : start + group] for start in range(0, len(mine), group)]
        for batches in prefetched(self._load, groups, self.config.run.workers):
            yield from batches

    def _load(self, videos: list[Video]) -> list[EvalBatch]:
        import torch

        views = [view for video in videos for view in self._views(video)]
        parts = [views[start : start + self.micro_batch] for start in range(0, len(views), self.micro_batch)]
        return [
            EvalBatch(
                self._normalised([clip for clip, *_ in part]),
                torch.tensor([video.label for _, video, *_ in part]),
                [video.id for _, video, *_ in part],
                [clip for *_, clip, _ in part],
                [crop for *_, crop in part],
            )
            for part in parts
        ]

    def _views(self, video: Video) -> list[tuple[torch.Tensor, Video, int, int]]:
        """Decode a video once and return its views: clip, video, temporal and spatial number."""
        views, length = self.config.data.views, self._length

        def pick(count: int) -> np.ndarray:
            return np.concatenate([self._sampler.view(count, length, view, views.clips) for view in range(views.clips)])

        try:
            frames = self._frames.read(video, pick)
        except VideoError as error:
            self.failures[video.id] = error.reason
            return []
        whole = transform.resize_to_cover(transform.to_tensor(frames), self._size)
        return [
            (
                transform.crop(whole[:, c * length : (c + 1) * length], self._size, k, views.crops),
                video,
                c,
                k,
            )
            for c in range(views.clips)
            for k in range(views.crops)
        ]
