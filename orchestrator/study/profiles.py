"""Profiles: a study says what varies, a profile says at what scale. Looked up by name."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from far.config import TrialConfig, load_document
from far.config.layers import Layer, Source
from far.config.messages import validated
from far.config.trial import Strict
from far.errors import ConfigError
from orchestrator.study.schema import Margin


@dataclass(frozen=True)
class Before:
    """What shipped profiles said in an earlier version: the results of then lie under the keys that this gives.

    Attributes:
        settings: by dotted key, what was said then.
        now: what is said instead, by the same keys; a row that says otherwise itself is left alone. Empty: whatever.
        profile: the one that said so; None: all.
    """

    settings: Mapping[str, Any]
    now: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None

    @property
    def overrides(self) -> list[str]:
        """Return the settings as they are written on a command line."""
        return [f"{key}={json.dumps(value).strip(chr(34))}" for key, value in self.settings.items()]

    def of(self, config: TrialConfig) -> TrialConfig | None:
        """Return a configuration as the profile of then had it, None where it is that already, or cannot be."""
        dumped = config.model_dump(mode="json")
        changed = False
        for key, value in self.settings.items():
            *sections, last = key.split(".")
            section = functools.reduce(lambda node, part: node[part], sections, dumped)
            if section[last] != value and section[last] == self.now.get(key, section[last]):
                section[last], changed = value, True
        try:
            return TrialConfig.model_validate(dumped) if changed else None
        except (ConfigError, ValueError):
            return None

    def applies(self, profile: str) -> bool:
        """Whether a profile of this name said so."""
        return self.profile in (None, profile)


PROFILES_BEFORE = (
    Before({"recipe.augment.repeat_frames": "own"}),
    Before(
        {"model.clip": [16, 64, 64], "model.tubelet": [2, 16, 16], "data.demo.motion": 24.0, "recipe.epochs": 6},
        now={"model.clip": [16, 32, 32], "model.tubelet": [4, 8, 8], "data.demo.motion": 40.0, "recipe.epochs": 8},
        profile="demo",
    ),
)


class ProfileFile(Strict):
    """What a profile file may say."""

    profile: str
    title: str = ""
    description: str = ""
    comparable: bool = False
    """Whether its numbers may be compared with the paper's."""
    abstract: bool = False
    """Only there to be extended."""
    extends: str | None = None
    """Another profile whose settings come first."""
    equal_within: Margin | None = None
    """Percentage points within which two rows of a study count as equal, unless the study says its own."""
    settings: dict[str, Any] = Field(default={})


@dataclass(frozen=True)
class Profile:
    """A named scale: its settings, layer on layer."""

    name: str
    title: str
    description: str
    comparable: bool
    path: Path
    layers: tuple[Layer, ...]
    equal_within: float | None = None
    """Percentage points within which two rows count as equal."""


def packaged_studies() -> Path:
    """Return the directory of the shipped studies, found by this package's place, not by name."""
    return Path(__file__).resolve().parents[2] / "studies"


def profile_directories(*bases: Path) -> list[Path]:
    """Return where profiles are looked for: next to the study, in the workspace, then the shipped ones."""
    places = [p for base in bases for p in (base / "profiles", base / "studies" / "profiles")]
    return list(dict.fromkeys([*places, packaged_studies() / "profiles"]))


def profile_names(directories: Sequence[Path]) -> list[str]:
    """Return the names of all profiles that can be found, those that are only there to be extended left out."""
    found = {path.stem: path for directory in reversed(directories) for path in directory.glob("*.yaml")}
    return sorted(name for name, path in found.items() if not load_document(path).data.get("abstract"))


def profile_files(name: str, directories: Sequence[Path]) -> list[Path]:
    """Return the files of a profile and of those that it extends.

    Raises:
        ConfigError: see ``find_profile``.
    """
    return [path for path, _, _ in _chain(name, directories, "command line", None)]


def find_profile(
    name: str,
    directories: Sequence[Path],
    *,
    where: str = "command line",
    abstract: bool = False,
    source: Path | None = None,
) -> Profile:
    """Read a profile and those that it extends.

    Args:
        name: the profile's name, which is its file's name without ``.yaml``.
        directories: where to look, in this order.
        where: who asked for it, for the error message.
        abstract: whether it may be one that is only there to be extended.
        source: the profile's own file, where that is known.

    Raises:
        ConfigError: there is none of this name, it is malformed, or it extends itself.
    """
    files = list(_chain(name, directories, where, source))
    path, file, _ = files[0]
    if file.abstract and not abstract:
        extending = [other for other in profile_names(directories) if other != name]
        raise ConfigError(
            f"profile '{name}' is only there to be extended", key="profile", where=where, choices=extending, got=name
        )
    layers = tuple(layer for _, _, layer in reversed(files))
    margin = next((file.equal_within for _, file, _ in files if file.equal_within is not None), None)
    return Profile(file.profile, file.title, file.description, file.comparable, path, layers, margin)


def _chain(
    name: str, directories: Sequence[Path], where: str, source: Path | None
) -> Iterator[tuple[Path, ProfileFile, Layer]]:
    seen: list[str] = []
    following: str | None = name
    while following is not None:
        if following in seen:
            raise ConfigError(f"profiles extend each other: {' -> '.join([*seen, following])}", where=where)
        seen.append(following)
        found = (d / f"{following}.yaml" for d in directories if (d / f"{following}.yaml").is_file())
        path = next(found, None) if source is None else source
        if path is None:
            raise ConfigError(
                f"unknown profile '{following}'",
                key="profile",
                where=where,
                choices=profile_names(directories),
                got=following,
            )
        document = load_document(path)
        file = validated(ProfileFile, document.data, document.where)
        if file.profile != path.stem:
            raise ConfigError(
                f"the file is called {path.name}, so the profile is '{path.stem}', not '{file.profile}'",
                key="profile",
                where=document.where(("profile",)),
            )
        where = document.where(("extends",))
        yield path, file, Layer(file.settings, lambda keys, d=document: d.where(("settings", *keys)), Source.PROFILE)  # type: ignore[misc]
        following, source = file.extends, None
