"""Data sets from Python: opened, prepared, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from far.data.sources import prepare
from far.data.sources.resize import default_name
from farlab.arguments import Overrides, assignments, shown_progress
from farlab.commands import command
from orchestrator.cli.datasets import load

if TYPE_CHECKING:
    from far.data import Manifest
    from far.data.sources.prepare import VideoFinding


def open_data(source: str = "demo", *, profile: str | None = None, overrides: Overrides | None = None) -> Manifest:
    """Return a data set: its ``videos``, the names of its classes (``labels``), where the files lie.

    Args:
        source: the name or path of a prepared data set, or ``demo``.
        profile: whose demo data set; default: the workspace's.
        overrides: of the demo's settings.

    Raises:
        ConfigError: there is none, or it is the demo's and not generated yet.
        DataError: its manifest is damaged.
    """
    return load(source, profile, *assignments(overrides))


def prepare_data(
    layout: str,
    folder: str | Path,
    *,
    name: str | None = None,
    resize: int | None = None,
    into: str | Path | None = None,
) -> Manifest:
    """Read a data set's lists, look into its files, and write one manifest under the workspace's data root.

    Args:
        layout: ``ssv2``, ``k400``, ``csv``, ``folder`` or that of a plug-in.
        folder: where the data set lies.
        name: what it is called here; default: the folder's name, with ``-<pixels>`` where it is resized.
        resize: short side in pixels with which larger videos are re-encoded.
        into: folder for these; default: ``videos/`` in the data set's.

    Raises:
        ConfigError: there is no such layout, or a data set cannot be called so, or cannot be resized so.
        DataError: the folder does not hold what the layout needs.
        StorageError: the resized videos cannot be written; those that are made are kept.
    """
    options = {"--name": name, "--resize": resize, "--into": into}
    given = [word for option, value in options.items() if value is not None for word in (option, value)]
    command("data", "prepare", layout, folder, *given)
    return load(name or default_name(Path(folder), resize))


def check_data(source: str | Manifest = "demo", *, clip: int = 16, progress: bool = True) -> list[VideoFinding]:
    """Decode every frame of every file and return what is wrong, worst first.

    Args:
        source: a data set, or its name or path.
        clip: frames below which a video is too short.
        progress: show a bar on standard error.

    Raises:
        ConfigError: there is no such data set.
    """
    manifest = load(source) if isinstance(source, str) else source
    with shown_progress("decoding files", shown=progress) as show:
        return prepare.check(manifest, clip=clip, progress=show)
