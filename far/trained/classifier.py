"""A trained network that says what is to be seen in videos: loaded once, asked as often as one likes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from far.data.decoding.cache import DecodedFiles
from far.data.sources.classes import class_names, numbered
from far.data.sources.manifest import Manifest, Video
from far.errors import ConfigError
from far.evaluate.predict import merge
from far.store.paths import TrialPaths
from far.trained.network import load_trained, predict_views

if TYPE_CHECKING:
    from far.data.decoding.cache import FrameSource
    from far.data.sources.demo_writer import Progress
    from far.trained.network import Trained

COLUMNS = ("video", "rank", "label", "class", "score")
"""Of an answer: the video's id, the answer's place from 1, the class's number and name, its probability."""

_SPLIT = "test"
"""Of videos that belong to no data set."""


@dataclass(frozen=True)
class Answers:
    """What a network says of videos.

    Attributes:
        ids: the videos that could be read, in the order in which they were given.
        scores: probability of each class, shape (videos, classes): the mean over the views of their softmax.
        classes: names of the classes.
        views: temporal clips and spatial crops of each video.
        unreadable: why a video could not be read, by id.
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float64] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    views: tuple[int, int]
    unreadable: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.ids)

    def best(self, top: int = 1) -> list[dict[str, Any]]:
        """Return the likeliest classes of each video, a record of ``COLUMNS`` each, likeliest first.

        Args:
            top: how many a video; all if there are fewer classes. Of equal scores the lower number comes first.
        """
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :top]
        return [
            dict(zip(COLUMNS, (name, rank, int(k), self.classes[k], float(row[k])), strict=True))
            for name, row, likeliest in zip(self.ids, self.scores, order, strict=True)
            for rank, k in enumerate(likeliest, start=1)
        ]

    def to_frame(self, top: int | None = 1) -> pd.DataFrame:
        """Return a line for each video and class.

        Args:
            top: the likeliest classes of each video, with the columns ``COLUMNS``; None: the scores of all classes,
                a line a video and a column a class.

        Raises:
            ConfigError: it is no number from 1.
        """
        if top is not None and (not isinstance(top, int) or top < 1):
            raise ConfigError(f"is a number from 1, or None for all classes, not {top!r}", key="top")
        if top is None:
            return pd.DataFrame(self.scores, index=pd.Index(self.ids, name="video"), columns=list(self.classes))
        return pd.DataFrame(self.best(top), columns=list(COLUMNS))

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


class Classifier:
    """A trained network with the names of its classes.

    Args:
        trained: the network.
        classes: the names; default: their numbers, and ``knows_names`` is False.

    Raises:
        ConfigError: there are not as many names as classes.
    """

    def __init__(self, trained: Trained, classes: Sequence[str] | None = None) -> None:
        if classes is not None and len(classes) != trained.classes:
            raise ConfigError(f"{len(classes)} names of classes for a network of {trained.classes}")
        self.trained = trained
        self.knows_names = classes is not None
        self.classes = tuple(classes) if classes is not None else numbered(trained.classes)

    @classmethod
    def load(cls, directory: Path | str, *, data_root: Path | None = None) -> Classifier:
        """Load the network of a trial.

        Args:
            directory: the trial's folder.
            data_root: folder of data sets, where the names of the classes are looked for if the trial has none.

        Raises:
            WeightsError: the folder is not a trial's, holds no complete checkpoint, or one that would run code.
            DamagedError: the checkpoint cannot be loaded.
        """
        trained = load_trained(Path(directory))
        names = class_names(
            TrialPaths(Path(directory)), trained.config.data.source, trained.classes, trained.identity, data_root
        )
        return cls(trained, names)

    def classify(
        self,
        videos: Iterable[Path | str],
        *,
        views: tuple[int, int] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Answers:
        """Say what is to be seen in video files; one that cannot be read stands in the answers' ``unreadable``.

        Args:
            videos: the files, of any kind that the decoders read. They are called by their paths as given.
            views: temporal clips and spatial crops; default: the trial's own.
            progress: called with (views done, views in all).

        Raises:
            ConfigError: no video is given.
        """
        paths = {str(path): Path(path).absolute() for path in videos}
        if not paths:
            raise ConfigError("no video to classify")
        listed = (Video(name, _SPLIT, str(path), -1, 0, 0.0, 0, 0, "") for name, path in paths.items())
        manifest = Manifest(tuple(listed), self.classes, Path("/"), "files", Path("/"))
        return self._answers(manifest, _SPLIT, views, progress, DecodedFiles(manifest))

    def classify_split(
        self,
        manifest: Manifest,
        split: str,
        *,
        views: tuple[int, int] | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Answers:
        """Say what is to be seen in a split's videos, labelled or not; see ``classify``.

        Raises:
            ConfigError: there is no such split.
        """
        return self._answers(manifest, split, views, progress)

    def _answers(
        self,
        manifest: Manifest,
        split: str,
        views: tuple[int, int] | None,
        progress: Progress,
        frames: FrameSource | None = None,
    ) -> Answers:
        predictions, stream = predict_views(
            self.trained, manifest, split, views=views, frames=frames, needs_labels=False, progress=progress
        )
        merged = merge(predictions)
        rows = {name: row for row, name in enumerate(merged.ids)}
        ids = tuple(video.id for video in manifest.split(split) if video.id in rows)
        scores = merged.probabilities[[rows[name] for name in ids]].reshape(len(ids), len(self.classes))
        used = stream.config.data.views
        return Answers(ids, scores, self.classes, (used.clips, used.crops), dict(stream.failures))
