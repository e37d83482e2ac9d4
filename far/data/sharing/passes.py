"""A trial's passes over its videos, as places on one line that is the same for all trials of a data set."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ByteSize

from far.config.trial import TrialConfig
from far.data.decoding.indexes import FILE_NAME
from far.data.sharing.clips import NOT_SHARED, Sharing
from far.data.sharing.groups import Groups, Sources, training_groups, view_groups
from far.data.sharing.leftovers import CLIPS, PREFIX, places
from far.data.sharing.window import Window
from far.data.sources.manifest import Manifest
from far.store.atomic import file_sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Passes:
    """What a trial shares of its passes: training, validation after each epoch, and the test.

    Attributes:
        sharing: what this process shares.
        sources: what decides a clip's bytes besides the configuration.
        training: number of videos of the training split.
        validation: number of videos of the validation split.
    """

    sharing: Sharing
    sources: Sources
    training: int
    validation: int

    def of_training(self, config: TrialConfig, epoch: int) -> tuple[Groups, int]:
        """Return the groups of the clips of an epoch, and where on the line it begins; epochs count from 0."""
        return training_groups(config, self.sources), epoch * self._epoch

    def of_validation(self, config: TrialConfig, epochs: int, is_test: bool) -> tuple[Groups, int]:
        """Return the groups of the views after ``epochs`` epochs of training, and where on the line they begin."""
        start = epochs * self._epoch - (0 if is_test else self.validation)
        return view_groups(config, self.sources, "val"), start

    def close(self) -> None:
        """Share nothing more."""
        self.sharing.close()

    @property
    def _epoch(self) -> int:
        return self.training + self.validation


def open_passes(
    manifest: Manifest,
    config: TrialConfig,
    *,
    trial: str,
    code: Mapping[str, str],
    versions: Iterable[str],
    companions: int = 0,
) -> Passes | None:
    """Return what a trial shares with others on this machine; None if it shares nothing.

    Args:
        manifest: the data set.
        config: the trial.
        trial: its key, the same for all of its processes.
        code: digests of the source that decides its numbers, by part.
        versions: of the libraries that make clips.
        companions: how many trials that read the same are started together with it.
    """
    if config.data.share == "off":
        return None
    index = manifest.directory / FILE_NAME
    digest = file_sha256(index) if index.exists() else ""
    sources = Sources(manifest.content_hash, digest, code, tuple(versions))
    test = view_groups(config, sources, "val")
    views = config.data.views.model_copy(update={"clips": 1, "crops": 1})
    one_view = config.model_copy(update={"data": config.data.model_copy(update={"views": views})})
    groups = (training_groups(config, sources), view_groups(one_view, sources, "val"), test)
    wants = {name for each in groups for name in (each.frames, each.clips)}
    try:
        root, directory, size = _room(manifest, config.data.share_memory)
        window = Window(directory, size, trial, wants)
    except OSError as error:
        log.warning("%s: %s", NOT_SHARED, error)
        return None
    if size < config.data.share_memory:
        # the same for all trials, so that a sweep says it once
        has, asked = (ByteSize(n).human_readable() for n in (shutil.disk_usage(root).total, config.data.share_memory))
        log.warning(
            "%s (%s) has no room for data.share_memory (%s): half of what is free holds clips", root, has, asked
        )
    sharing = Sharing(window, companions=companions, workers=config.run.workers)
    return Passes(sharing, sources, len(manifest.split("train")), len(manifest.split("val")))


def _room(manifest: Manifest, wanted: int) -> tuple[Path, Path, int]:
    """Return where a data set's window lies, its directory, and what its clips may take: half of the bytes there are.

    Raises:
        OSError: there is no room at all.
    """
    root = next((place for place in places() if os.access(place, os.W_OK | os.X_OK)), places()[0])
    name = hashlib.sha256(manifest.content_hash.encode()).hexdigest()[:12]
    directory = root / f"{PREFIX}{name}"
    size = min(wanted, (shutil.disk_usage(root).free + _taken(directory)) // 2)
    if size <= 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))
    return root, directory, size


def _taken(directory: Path) -> int:
    """Return the bytes of the clips that are in a window; other processes add and remove some meanwhile."""
    total = 0
    for path in directory.glob(f"{CLIPS}/*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
