"""Rows that have settings of their own at a scale, as in the paper's comparisons, where each row has its own recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from far.config import Document
from far.config.layers import Layer, Source
from far.errors import ConfigError
from orchestrator.study.expand import Draft
from orchestrator.study.profiles import find_profile
from orchestrator.study.schema import StudyFile

PROFILE = "profile"


class OtherScaleError(ConfigError):
    """The study does not run at this profile."""


class Scales:
    """What a study's rows have at one profile.

    Args:
        file: the study.
        document: where its keys stand.
        profile: the profile that was asked for.
        asked: who asked for it, for the error message.
        places: where profiles are looked for.

    Raises:
        OtherScaleError: the study names scales, and this is none of them.
    """

    def __init__(self, file: StudyFile, document: Document, profile: str, asked: str, places: Sequence[Path]) -> None:
        if file.scales and profile not in file.scales:
            raise OtherScaleError(
                f"study '{file.study}' has no rows at profile '{profile}'",
                key=PROFILE,
                where=asked,
                choices=list(file.scales),
                got=profile,
            )
        self._rows = file.scales.get(profile, {})
        self._document, self._path, self._places = document, ("scales", profile), places

    @property
    def complete(self) -> bool:
        """Whether every row named here has a whole profile, so that the one asked for need not be whole."""
        return bool(self._rows) and all(PROFILE in settings for settings in self._rows.values())

    def checked(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """Return the study's rows.

        Raises:
            ConfigError: a row is named that the study does not have, or one is left without a profile.
        """
        names = [draft.name for draft in drafts]
        for name in self._rows:
            if name not in names:
                raise self._error(f"no row is called '{name}'", name, choices=names, got=name)
        for name in names:
            if self.complete and name not in self._rows:
                raise self._error(f"row '{name}' has no profile, as the others have", choices=list(self._rows))
        return drafts

    def layers(self, draft: Draft) -> tuple[Layer, ...]:
        """Return what a row has at this scale; it goes under what the row sets itself.

        Raises:
            ConfigError: there is no such profile.
        """
        settings: dict[str, Any] = dict(self._rows.get(draft.name, {}))
        named = settings.pop(PROFILE, None)
        path = (*self._path, draft.name)
        whole: tuple[Layer, ...] = ()
        if named is not None:
            whole = find_profile(str(named), self._places, where=self._document.where((*path, PROFILE))).layers
        own = Layer(settings, lambda keys: self._document.where((*path, *keys)), Source.BASE)
        return (*whole, own) if settings else whole

    def _error(self, message: str, *keys: str, **more: Any) -> ConfigError:
        path = (*self._path, *keys)
        return ConfigError(message, key=".".join(path), where=self._document.where(path), **more)
