"""Which clips are the same for several trials: a name made of all that decides their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from far.architecture.sampling import SAMPLERS, settings_read
from far.config.augmentation import AUGMENTATIONS
from far.config.trial import TrialConfig

AFTER_SHARING = ("mix", "cutmix", "erasing")
"""How the names of augmentation's settings begin that say what is done to the clips of a whole batch."""
FRAMES_CODE = ("far.data.decoding.", "far.data.loader", "far.randomness", "file '", f"{SAMPLERS.axis} '")
VIEWS_CODE = ("far.data.transforms.geometry",)
CLIPS_CODE = (
    "far.data.transforms.augment", "far.data.transforms.randaugment", *VIEWS_CODE, f"{AUGMENTATIONS.axis} '",
)  # fmt: skip
"""How the parts of a trial's source begin that decide the frames, and what is made of them."""


@dataclass(frozen=True)
class Groups:
    """The groups of the clips of one pass.

    Attributes:
        frames: of the frames as decoded.
        clips: of what is made of them on a CPU.
    """

    frames: str
    clips: str


@dataclass(frozen=True)
class Sources:
    """What decides a clip's bytes besides the configuration.

    Attributes:
        content: hash of the data set.
        index: hash of which frames its videos have.
        code: digests of the source that decides a trial's numbers, by part (``far.source``).
        versions: of the libraries that make clips.
    """

    content: str
    index: str
    code: Mapping[str, str]
    versions: Iterable[str]

    def frames(self) -> dict[str, Any]:
        """Return what decides frames, as plain data."""
        facts = {"content": self.content, "index": self.index, "versions": sorted(self.versions)}
        return {**facts, "code": self.parts(*FRAMES_CODE)}

    def parts(self, *beginnings: str) -> dict[str, str]:
        """Return the digests of the parts whose names begin in one of these ways."""
        return {part: digest for part, digest in self.code.items() if part.startswith(beginnings)}


def training_groups(config: TrialConfig, sources: Sources) -> Groups:
    """Return the groups of training clips; trials of one seed draw the same frames, in the same order."""
    augment = config.recipe.augment.model_dump(mode="json")
    frames = {**sources.frames(), **_drawn(config)}
    steps = {name: value for name, value in augment.items() if not name.startswith(AFTER_SHARING)}
    code = sources.parts(*CLIPS_CODE)
    return _named(config, frames, {"steps": steps, "flip": config.data.flip, "steps_code": code})


def view_groups(config: TrialConfig, sources: Sources, split: str) -> Groups:
    """Return the groups of a split's views, which have no draws."""
    frames = {**sources.frames(), **_sampling(config), "split": split, "views": config.data.views.clips}
    return _named(config, frames, {"steps_code": sources.parts(*VIEWS_CODE)})


def frames_group(config: TrialConfig, content: str) -> str:
    """Return the name of the trials that train on the same frames of the same videos in the same order.

    Where code, index and versions are the same, as in one sweep, these have one group in :func:`training_groups`.

    Args:
        config: a trial's.
        content: hash of its data set.
    """
    return _name({"content": content, **_drawn(config)})


def _drawn(config: TrialConfig) -> dict[str, Any]:
    """Return the settings that decide which frames training draws."""
    return {**_sampling(config), "split": "train", "seed": config.seed, "cuts": config.recipe.augment.cuts}


def _sampling(config: TrialConfig) -> dict[str, Any]:
    read = settings_read(config.data)
    return {"sampling": config.data.sampling, "settings": read, "length": config.model.clip[0]}


def _named(config: TrialConfig, frames: Mapping[str, Any], clips: Mapping[str, Any]) -> Groups:
    return Groups(_name(frames), _name({**frames, **clips, "size": config.model.clip[1:]}))


def _name(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
