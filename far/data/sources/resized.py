"""What a manifest says of videos that were resized (``resize`` makes them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from far.data.sources.manifest import Manifest

NOTE, FOLDER_NOTE = "resized", "folder"
"""Keys of the manifest's note: what was done, and the folder of the originals.

What was done names no path of this machine, and so goes with a data set that is handed on.
"""
VIDEOS = "videos"
"""Folder of the resized videos in that of the manifest, unless another is named."""


def account(note: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest's note says of how its videos were resized; nothing where they were not.

    ``short_side`` in pixels; ``content_hash`` of the data set of the originals; ``codec``, its ``settings``, and
    ``encoders``, the versions that made the files; how many videos were ``reencoded``, and how many are as they were
    because they are ``not_larger``; why others are ``not_reencoded``, by split and id.
    """
    made = note.get(NOTE)
    return made if isinstance(made, dict) else {}


def summary(manifest: Manifest) -> str | None:
    """Return in a line how the videos of a data set were resized, None if they were not."""
    made = account(manifest.note)
    if not made:
        return None
    settings = " ".join(f"{name}={value}" for name, value in made["settings"].items())
    kept = [(made["not_larger"], "not larger"), (len(made["not_reencoded"]), "cannot be re-encoded")]
    counts = [f"{made['reencoded']} re-encoded", *(f"{count} as they were ({why})" for count, why in kept if count)]
    return (
        f"resized to a short side of {made['short_side']} pixels from {made['content_hash'][:16]} by "
        f"{made['codec']} ({', '.join([*made['encoders'], settings])}): {', '.join(counts)}"
    )


def prepare_command(manifest: Manifest) -> list[str] | None:
    """Return the command that prepares a data set again, None where it is not known."""
    if manifest.source == "demo":
        return None
    folder, made = manifest.media_root, account(manifest.note)
    words = ["farlab", "data", "prepare", manifest.source, str(folder), "--name", manifest.directory.name]
    if not made:
        return words
    if not isinstance(manifest.note.get(FOLDER_NOTE), str):
        return None
    words[4] = str(manifest.note[FOLDER_NOTE])
    words += ["--resize", str(made["short_side"])]
    is_usual = folder.resolve() == (manifest.directory / VIDEOS).resolve()
    return words if is_usual else [*words, "--into", str(folder)]
