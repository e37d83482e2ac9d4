"""Batches of clips for training and evaluation.

What is in a batch depends on the seed, the epoch and the data alone: never on the number of processes, the micro-batch
or the order in which threads finish.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from far.architecture.sampling import sampler
from far.config.trial import TrialConfig
from far.data.batch import UNREADABLE, Batch, EvalBatch
from far.data.decoding.cache import FrameSource, open_frames
from far.data.decoding.decoder import Frames, VideoError
from far.data.feed import Feed, Made, taken
from far.data.prefetch import batches_ahead, prefetched
from far.data.recycling import RecycledMemory
from far.data.sharing.clips import Kind, Lap
from far.data.sharing.groups import Groups
from far.data.sharing.passes import Passes
from far.data.sources.diagnostics import counted
from far.data.sources.manifest import Manifest, Video
from far.data.transforms import geometry, mixup
from far.data.transforms.augment import Draws, Erasure, augmented, draw_erasure
from far.errors import ConfigError, DataError
from far.randomness import numpy_rng

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Clip:
    """A clip of a video, augmented: bytes (3, T, H, W), and what is put into it after normalisation."""

    pixels: torch.Tensor
    erasure: Erasure | None = None

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Whatever of it lies on the device."""
        return (self.pixels,) if self.erasure is None else (self.pixels, self.erasure.noise)


if TYPE_CHECKING:
    _Read = Made[list[_Clip]] | str
    """What becomes of a video: its clips, or why it cannot be read."""
    _MicroBatch = tuple[int, range, dict[int, Video]]
    """The step, places in the batch, and the videos there and where these are mixed with, by place."""
    _Views = Made[list[tuple[torch.Tensor, int, int]]] | str


@dataclass
class _Stream:
    """What training and evaluation share.

    Args:
        manifest: the data set.
        config: the trial.
        rank: this process's number.
        world: number of processes of the trial.
        micro_batch: videos at once in training, clips at once in evaluation.
        frames: where frames come from; by default the fastest way to read the data set.
        device: where clips are resized, augmented and mixed.
        dtype: floating type of the clips; default: float32.
        passes: what is shared with other trials; default: nothing.
    """

    manifest: Manifest
    config: TrialConfig
    rank: int = field(kw_only=True)
    world: int = field(kw_only=True)
    micro_batch: int = field(kw_only=True)
    frames: FrameSource | None = field(default=None, kw_only=True)
    device: str | torch.device = field(default="cpu", kw_only=True)
    dtype: torch.dtype | None = field(default=None, kw_only=True)
    passes: Passes | None = field(default=None, kw_only=True)
    delivered: int = field(default=0, init=False)
    """Videos read for a batch so far."""
    failures: dict[str, str] = field(default_factory=dict, init=False)
    """Why a video could not be read, by id, as found so far."""

    def __post_init__(self) -> None:
        import torch

        self.dtype = self.dtype or torch.float32
        self.feed = Feed(self.device)
        self.source: FrameSource = self.frames or open_frames(self.manifest, self.config.data)
        self._memory = RecycledMemory()
        self._sampler = sampler(self.config.data)
        self._length, height, width = self.config.model.clip
        self._size = (height, width)

    @property
    def decoders(self) -> dict[str, int]:
        """How many videos of the data set each decoder reads, by its name and version."""
        return self.source.decoders()

    def _reading(
        self,
        shared: tuple[Passes, Groups, int] | None,
        order: Iterable[int],
        frames_of: Callable[[int], Frames],
        clips_of: Callable[[int, torch.Tensor], list[torch.Tensor]],
    ) -> Callable[[int], list[torch.Tensor]]:
        """Return how the clips of a place of a pass are read: from other trials, if they have them, or from the source.

        Args:
            shared: what is shared, the groups of these clips, and where the pass begins among a trial's; None: nothing.
            order: places that this process reads in this pass.
            frames_of: decodes the frames of a place.
            clips_of: makes uint8 clips (3, T, H, W) of a place's frames, which lie on the device.
        """

        def made(place: int, frames: Frames) -> list[torch.Tensor]:
            return clips_of(place, self.feed.send(geometry.to_tensor(frames)))

        if shared is None:
            return lambda place: made(place, frames_of(place))
        (passes, groups, start), places = shared, sorted(set(order))
        is_on_cpu = self.feed.device.type == "cpu"  # what is made on another device stays there
        frames = Lap(
            passes.sharing,
            Kind(groups.frames, frames_of, np.asarray, np.asarray, apart_from=groups.clips if is_on_cpu else ""),
            start=start,
            order=places,
            is_inner=is_on_cpu,
        )
        if not is_on_cpu:
            return lambda place: made(place, frames.read(place))
        kind = Kind(groups.clips, lambda place: made(place, frames.read(place)), _packed, _unpacked)
        return Lap(passes.sharing, kind, start=start, order=places).read

    def _normalised(self, clips: list[torch.Tensor]) -> torch.Tensor:
        """Return clips of bytes as one normalised batch (B, 3, T, H, W) in float32."""
        batch = self._memory.empty((len(clips), *clips[0].shape), clips[0].device)
        geometry.normalise_into(batch, clips, self.config.data.mean, self.config.data.std)
        return batch


@dataclass
class TrainStream(_Stream):
    """The training split, epoch by epoch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._videos = self.manifest.split("train")
        self._batch = self.config.recipe.batch_size
        unlabelled = sum(video.label < 0 for video in self._videos)
        if unlabelled:
            raise DataError(f"{counted(unlabelled, 'video')} of the training split without a label")
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

        def video_at(place: int) -> Video:
            return self._videos[order[place]]

        def micro_batches() -> Iterator[_MicroBatch]:
            for step in range(start_step, self.steps_per_epoch):
                for first in range(self.rank * self.micro_batch, self._batch, self.world * self.micro_batch):
                    positions = range(first, first + self.micro_batch)
                    wanted = sorted({*positions, *self._partners(positions)})
                    yield step, positions, {p: video_at(step * self._batch + p) for p in wanted}

        shared = None if self.passes is None else (self.passes, *self.passes.of_training(self.config, epoch))
        read = self._reading(
            shared,
            (step * self._batch + p for step, _, videos in micro_batches() for p in videos),
            lambda place: self._frames(video_at(place), epoch),
            lambda place, frames: self._augmented(frames, video_at(place), epoch),
        )

        def parts(wanted: _MicroBatch) -> list[Callable[[], _Read]]:
            step, _, videos = wanted
            return [
                functools.partial(self._read, video, epoch, functools.partial(read, step * self._batch + p))
                for p, video in videos.items()
            ]

        def join(wanted: _MicroBatch, read: list[_Read]) -> Made[Batch]:
            step, positions, videos = wanted
            return self.feed.make(
                lambda: self._batch_of(videos, read, positions, epoch, step),
                lambda batch: (batch.clips, batch.targets),
            )

        workers = self.config.run.workers
        ahead = batches_ahead(workers, self.micro_batch)
        return taken(prefetched(micro_batches(), parts, join, workers=workers, ahead=ahead))

    def _partners(self, positions: range) -> list[int]:
        """Return the places in the batch that these are mixed with; neighbours, where anything is mixed."""
        if not self.config.recipe.augment.mixes:
            return []
        return [p ^ 1 for p in positions if p ^ 1 < self._batch]

    def _read(self, video: Video, epoch: int, read: Callable[[], list[torch.Tensor]]) -> _Read:
        """Read and augment a video, or say why it cannot be read."""
        try:
            return self.feed.make(
                lambda: self._clips(video, epoch, read()),
                lambda clips: (tensor for clip in clips for tensor in clip.tensors),
            )
        except VideoError as error:
            return error.reason

    def _batch_of(self, videos: dict[int, Video], made: list[_Read], positions: range, epoch: int, step: int) -> Batch:
        """Join what was read: normalise, erase, mix."""
        import torch

        self.delivered += len(made)
        read = {}
        for (p, video), found in zip(videos.items(), made, strict=True):
            if isinstance(found, str):
                self.failures[video.id] = found
            else:
                read[p] = found.take()
        kept = [p for p in positions if p in read]
        failed = len(positions) - len(kept)
        if not kept:
            nothing = torch.zeros(1, 3, self._length, *self._size, dtype=self.dtype, device=self.device)
            targets = torch.zeros(1, self.manifest.classes, device=self.device)
            return Batch(nothing, targets, [UNREADABLE], [positions[0]], failed)
        views = range(self.config.recipe.augment.repeats)
        rows = {place: row for row, place in enumerate(itertools.product(read, views))}
        whole = [clip for each in read.values() for clip in each]
        clips = self._normalised([clip.pixels for clip in whole])
        for pixels, clip in zip(clips, whole, strict=True):
            if clip.erasure is not None:
                clip.erasure.put(pixels)
        places = [(p, view) for p in kept for view in views]
        clips, partners, shares = self._mixed(clips, rows, places, epoch, step)
        targets = self._targets([videos[p].label for p, _ in places], [videos[q].label for q in partners], shares)
        return Batch(
            clips,
            self.feed.send(targets),
            [videos[p].id if view == 0 else f"{videos[p].id}#{view}" for p, view in places],
            [p for p, _ in places],
            failed,
        )

    def _frames(self, video: Video, epoch: int) -> Frames:
        """Decode a video once, for all of its clips."""
        cuts = range(self.config.recipe.augment.cuts)

        def pick(count: int) -> np.ndarray:
            draws = [self._draws(video, epoch, cut)("frames") for cut in cuts]
            return np.concatenate([self._sampler.train(count, self._length, rng) for rng in draws])

        return self.source.read(video, pick)

    def _augmented(self, whole: torch.Tensor, video: Video, epoch: int) -> list[torch.Tensor]:
        """Make a video's clips of its frames, still of bytes."""
        augment, frames = self.config.recipe.augment, whole.split(self._length, dim=1)
        return [
            augmented(
                frames[view % len(frames)],
                augment,
                self._size,
                self._draws(video, epoch, view),
                flip=self.config.data.flip,
            )
            for view in range(augment.repeats)
        ]

    def _clips(self, video: Video, epoch: int, pixels: list[torch.Tensor]) -> list[_Clip]:
        """Draw what is put into a video's clips after normalisation."""
        return [_Clip(clip, self._erasure(self._draws(video, epoch, view))) for view, clip in enumerate(pixels)]

    def _erasure(self, draws: Draws) -> Erasure | None:
        """Draw what is put into a box of a clip, if anything is, and send it to the device."""
        probability = self.config.recipe.augment.erasing
        drawn = draw_erasure((self._length, *self._size), probability, draws("erasing")) if probability else None
        return drawn and Erasure(drawn.top, drawn.left, self.feed.send(drawn.noise))

    def _draws(self, video: Video, epoch: int, view: int) -> Draws:
        """Return the generators of one clip, by what they draw."""
        return lambda purpose: numpy_rng(self.config.seed, purpose, video.id, epoch, view)

    def _mixed(
        self,
        clips: torch.Tensor,
        rows: dict[tuple[int, int], int],
        places: list[tuple[int, int]],
        epoch: int,
        step: int,
    ) -> tuple[torch.Tensor, list[int], list[float]]:
        """Mix clips with their neighbours' in the batch.

        Args:
            clips: all that were read, (N, 3, T, H, W).
            rows: where the clip of a position in the batch and a view is among them.
            places: position and view of those wanted.
            epoch: from 0.
            step: of the epoch.

        Returns:
            The clips wanted, each one's partner's position (its own, if it stays alone), and its own share.
        """
        augment = self.config.recipe.augment
        if not augment.mixes:
            return clips.to(self.dtype), [p for p, _ in places], [1.0] * len(places)
        mixed = self._memory.empty((len(places), *clips.shape[1:]), clips.device, self.dtype)
        partners, shares = [], []
        for number, (p, view) in enumerate(places):
            rng = numpy_rng(self.config.seed, "mix", epoch, step, p // augment.mix_group)
            mix = mixup.draw(augment, *self._size, rng) if (p ^ 1, view) in rows else None
            own = clips[rows[p, view]]
            if mix is None:
                mixed[number] = own
            else:
                mixup.blend_into(mixed[number], own, clips[rows[p ^ 1, view]], mix)
            partners.append(p if mix is None else p ^ 1)
            shares.append(1.0 if mix is None else mix.share)
        return mixed, partners, shares

    def _targets(self, labels: list[int], partners: list[int], shares: list[float]) -> torch.Tensor:
        """Return soft targets where clips are mixed, else classes; label smoothing is part of the former only."""
        import torch

        if not self.config.recipe.augment.mixes:
            return torch.tensor(labels)
        smoothing = self.config.recipe.label_smoothing
        return mixup.soft_targets(labels, partners, shares, self.manifest.classes, smoothing)


@dataclass
class EvalStream(_Stream):
    """All views of a split's videos, once; ranks take turns and nothing is padded.

    A video that cannot be read is left out and stands in ``failures``; it still counts in ``expected``.

    Raises:
        DataError: a video has no label, where ``needs_labels``.
    """

    split: str = "val"
    needs_labels: bool = field(default=True, kw_only=True)
    after: tuple[int, bool] = field(default=(0, False), kw_only=True)
    """The epochs of the training before it, and whether this is the test at its end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._videos = self.manifest.split(self.split)
        unlabelled = sum(video.label < 0 for video in self._videos)
        if unlabelled and self.needs_labels:
            raise DataError(
                f"{counted(unlabelled, 'video')} of the split '{self.split}' without a label, so no answer can be right"
            )

    @property
    def expected(self) -> int:
        """Videos of the split over all ranks, readable or not."""
        return len(self._videos)

    def __iter__(self) -> Iterator[EvalBatch]:
        views, workers = self.config.data.views, self.config.run.workers
        mine = range(self.rank, len(self._videos), self.world)
        group = max(1, self.micro_batch // (views.clips * views.crops))
        groups = [mine[start : start + group] for start in range(0, len(mine), group)]
        epochs, is_test = self.after
        shared = (
            None if self.passes is None else (self.passes, *self.passes.of_validation(self.config, epochs, is_test))
        )
        read = self._reading(
            shared,
            mine,
            lambda place: self._frames(self._videos[place]),
            lambda place, frames: [geometry.resize_to_cover(frames, self._size)],
        )

        def parts(places: range) -> list[Callable[[], _Views]]:
            return [functools.partial(self._read, functools.partial(read, place)) for place in places]

        def join(places: range, made: list[_Views]) -> Made[list[EvalBatch]]:
            videos = [self._videos[place] for place in places]
            return self.feed.make(
                lambda: self._batches(videos, made), lambda batches: (batch.clips for batch in batches)
            )

        ahead = batches_ahead(workers, group)
        for batches in taken(prefetched(groups, parts, join, workers=workers, ahead=ahead)):
            yield from batches

    def _read(self, read: Callable[[], list[torch.Tensor]]) -> _Views:
        """Read a video's views, or say why it cannot be read."""
        try:
            return self.feed.make(lambda: self._views(read()), lambda views: (clip for clip, _, _ in views))
        except VideoError as error:
            return error.reason

    def _batches(self, videos: list[Video], read: list[_Views]) -> list[EvalBatch]:
        """Normalise what was read, in batches."""
        import torch

        self.delivered += len(read)
        views = []
        for video, made in zip(videos, read, strict=True):
            if isinstance(made, str):
                self.failures[video.id] = made
            else:
                views += [(video, *view) for view in made.take()]
        return [
            EvalBatch(
                self._normalised([pixels for _, pixels, _, _ in part]).to(self.dtype),
                torch.tensor([video.label for video, *_ in part]),
                [video.id for video, *_ in part],
                [clip for *_, clip, _ in part],
                [crop for *_, crop in part],
            )
            for part in (views[n : n + self.micro_batch] for n in range(0, len(views), self.micro_batch))
        ]

    def _frames(self, video: Video) -> Frames:
        """Decode a video once, for all of its views."""
        clips, length = self.config.data.views.clips, self._length

        def pick(count: int) -> np.ndarray:
            return np.concatenate([self._sampler.view(count, length, view, clips) for view in range(clips)])

        return self.source.read(video, pick)

    def _views(self, resized: list[torch.Tensor]) -> list[tuple[torch.Tensor, int, int]]:
        """Return a video's views: clip of bytes, temporal and spatial number."""
        views, length, (whole,) = self.config.data.views, self._length, resized
        return [
            (geometry.crop(whole[:, c * length : (c + 1) * length], self._size, k, views.crops), c, k)
            for c in range(views.clips)
            for k in range(views.crops)
        ]


def _packed(clips: list[torch.Tensor]) -> np.ndarray:
    return np.stack([clip.numpy() for clip in clips])


def _unpacked(clips: np.ndarray) -> list[torch.Tensor]:
    import torch

    return list(torch.from_numpy(clips))
