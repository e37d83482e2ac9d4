"""The names of the classes that a trained network tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from far.data.sources.demo import MOTIONS
from far.data.sources.manifest import read_header
from far.data.sources.open import DEMO, locate
from far.errors import ConfigError, DataError
from far.store.atomic import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from far.store.paths import TrialPaths


def class_names(
    paths: TrialPaths, source: str, classes: int, identity: Mapping[str, Any], data_root: Path | None = None
) -> tuple[str, ...] | None:
    """Return the names in the order of the network's answers, None if nothing here knows them.

    They stand in the trial's own folder; of trials of earlier versions, in the data set's manifest, if that still is
    the one that was trained on.

    Args:
        paths: the trial's files.
        source: its data set.
        classes: how many it tells apart.
        identity: its scientific identity, which has the data's content hash.
        data_root: folder of data sets.
    """
    found = read_json(paths.classes, list[str])
    if found is None and source == DEMO:
        found = list(MOTIONS)
    elif found is None and data_root is not None:
        try:
            header = read_header(locate(source, data_root))
        except (ConfigError, DataError):
            return None
        is_same = header.content_hash == (identity.get("data") or {}).get("content")
        found = list(header.labels) if is_same else None
    return tuple(found) if found is not None and len(found) == classes else None


def numbered(classes: int) -> tuple[str, ...]:
    """Return what classes are called whose names nobody knows."""
    return tuple(f"class {number}" for number in range(classes))
