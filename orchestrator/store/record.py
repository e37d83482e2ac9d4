"""A trial's own record, from which it can be trained again: the same key, hence the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from far.config.layers import Layer, Source
from far.errors import ConfigError
from far.store.paths import TrialPaths

MOST_SHOWN = 6
"""Differences that are named; the rest is counted."""


@dataclass(frozen=True)
class Record:
    """What ``trial.json`` or ``result.json`` says of a trial."""

    path: Path
    key: str
    profile: str
    seed: int
    layer: Layer
    """The whole configuration but the seed."""
    identity: Mapping[str, Any]
    code: tuple[str, ...]
    """Commits (else versions) that the trial ran on, in the order of its attempts."""

    def said(self, here: Mapping[str, Any]) -> str:
        """Return what is repeated, and whether by the code that it ran on.

        Args:
            here: what ``code_version`` says of the code here.
        """
        text = f"repeats trial {self.key} of {self.path}"
        now = said_code(here)
        if self.code and self.code != (now,):
            text += f"\nits code was {' then '.join(self.code)}; this is {now}: numbers may differ"
        return text

    def check(self, key: str, identity: Mapping[str, Any]) -> None:
        """Refuse to train what would be another trial.

        Args:
            key: of the trial as it would be trained here.
            identity: that the key is the hash of.

        Raises:
            ConfigError: the keys differ; with the settings, or the content of data or weights, that do.
        """
        if key == self.key:
            return
        differ = differences(self.identity, json.loads(json.dumps(identity)))
        more = f" and {len(differ) - MOST_SHOWN} more" if len(differ) > MOST_SHOWN else ""
        said = ", ".join(differ[:MOST_SHOWN]) + more if differ else "the record's key is not that of its settings"
        raise ConfigError(f"would be another trial here ({key}, not {self.key}): {said}", where=str(self.path))


def said_code(code: Mapping[str, Any]) -> str:
    """Write which code a trial ran on: its commit, else its version, and whether that was changed."""
    return f"{code.get('git') or code.get('version')}{' with changes' if code.get('dirty') else ''}"


def differences(recorded: Any, here: Any, path: str = "") -> list[str]:
    """Return in what an identity here differs from a recorded one, by dotted setting."""
    if isinstance(recorded, Mapping) and isinstance(here, Mapping):
        found = [(f"{path}.{k}" if path else str(k), recorded.get(k), here.get(k)) for k in {**recorded, **here}]
        return [text for name, a, b in found for text in differences(a, b, name)]
    return [] if recorded == here else [f"{path} = {json.dumps(here)} instead of {json.dumps(recorded)}"]


def is_record(text: str) -> bool:
    """Whether a word of the command line names a trial's record or its folder, rather than a profile."""
    path = Path(text)
    return path.suffix == ".json" or (path.is_dir() and TrialPaths(path).trial.exists())


def read_record(path: Path) -> Record:
    """Read the record of a trial.

    Args:
        path: of ``trial.json`` or ``result.json``, or of the trial's folder.

    Raises:
        ConfigError: there is no such file, or it is no record of a trial.
    """
    path = TrialPaths(path).trial if path.is_dir() else path
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as JSON: {error}", where=str(path)) from None
    config = found.get("config") if isinstance(found, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("seed"), int) or not isinstance(found.get("key"), str):
        raise ConfigError(
            "is no record of a trial: 'key' and 'config' with a seed are needed, as in a store's trials/KEY/trial.json",
            where=str(path),
        )
    ran = [each.get("code") for each in (*(found.get("attempts") or ()), found) if isinstance(each, dict)]
    return Record(
        path,
        found["key"],
        str(found.get("profile") or path.stem),
        config["seed"],
        Layer({name: value for name, value in config.items() if name != "seed"}, lambda _: str(path), Source.RECORD),
        found.get("identity") or {},
        tuple(dict.fromkeys(said_code(code) for code in ran if isinstance(code, dict))),
    )
