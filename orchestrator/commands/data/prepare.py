"""``farlab data prepare``: a data set's lists and files become one manifest."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.config import parse_override
from far.data.sources.diagnostics import SHOWN as SHOWN_PLACES
from far.data.sources.diagnostics import counted, describe, one_line
from far.data.sources.layouts import LAYOUTS, read_listing
from far.data.sources.manifest import read_manifest
from far.data.sources.open import DEMO
from far.data.sources.prepare import WARNINGS
from far.data.sources.prepare import prepare as write_manifest
from far.errors import ConfigError, DataError
from far.plugins import load_plugin
from orchestrator.cli.datasets import progress_bar
from orchestrator.cli.options import PluginOption, TrustOption
from orchestrator.workspace.plugins import load_workspace_plugins
from orchestrator.workspace.settings import load_settings

if TYPE_CHECKING:
    from far.data.sources.listing import Listing
    from far.data.sources.manifest import Manifest


def prepare(
    layout: Annotated[str, typer.Argument(help=f"Layout of the folder: {', '.join(LAYOUTS)}.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the data set here; default: the folder's.", show_default=False)
    ] = None,
    plugin: PluginOption = None,
    trust: TrustOption = False,
) -> None:
    """Read a data set's lists, look into its files, write one manifest, and say what is odd.

    Examples:
        farlab data prepare folder clips/ --name mine
        farlab data prepare ssv2 /data/ssv2
    """
    for path in plugin or ():
        load_plugin(path)
    if layout not in LAYOUTS:
        load_workspace_plugins()
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout '{layout}'", where="command line", choices=LAYOUTS, got=layout)
    name = folder.resolve().name if name is None else name
    # a name, not a path: nothing is to be written anywhere but in a folder of the data root
    is_name = Path(name).name == name and name.isprintable() and name[:1] not in ("", ".", "-")
    if not is_name or name == DEMO:
        raise ConfigError(f"a data set cannot be called {name!r}; choose another --name", where="command line")
    directory = load_settings().data_root / name
    listing = read_listing(layout, folder)
    note = replaced(directory, folder)
    directory.mkdir(parents=True, exist_ok=True)
    with progress_bar("looking into files") as progress:
        manifest = write_manifest(listing, layout=layout, root=folder, directory=directory, progress=progress)
    show_listing(listing, manifest, folder.absolute())
    if note:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"data set {manifest.content_hash[:16]} in {directory}")
    if not {"train", "val"} & {video.split for video in manifest.videos}:
        typer.echo(f"use it with: farlab predict TRIAL --split test --data {shlex.quote(name)}")
        return
    settings = {"data.source": name, "data.classes": manifest.classes}
    typer.echo(f"use it with: {' '.join(assignment(key, value) for key, value in settings.items())}")


def replaced(directory: Path, folder: Path) -> str | None:
    """Return what becomes of a data set of another folder that has had this name so far."""
    try:
        earlier = read_manifest(directory)
    except DataError:
        return None
    if earlier.media_root.resolve() == folder.resolve():
        return None
    place = one_line(str(earlier.media_root))
    return f"this replaces the data set {earlier.content_hash[:16]} of {place}; --name keeps both"


def show_listing(listing: Listing, manifest: Manifest, folder: Path) -> None:
    """Say what was found, and on standard error what is odd about it."""
    for split, expected in listing.published.items():
        listed = [video for video in listing.videos if video.split == split]
        found = sum(video.path is not None for video in listed)
        if listed:
            typer.echo(
                f"{split}: {found} of {len(listed)} listed videos are there ({found / expected:.1%} of {expected})"
            )
        else:
            typer.echo(f"{split}: no list ({expected} videos are published)")
    for files in [*listing.several.values()][:1]:
        used, *others = (one_line(str(path.relative_to(folder))) for path in files)
        videos = counted(len(listing.several), "video")
        typer.echo(f"{videos} with several files, e.g. {used} (used) and {', '.join(others)} (not)")
    absent = {(video.split, video.id): one_line(video.sought) for video in listing.videos if video.path is None}
    unopened = [
        f"{video.split}/{video.id}"
        for video in manifest.videos
        if not video.frames and (video.split, video.id) not in absent
    ]
    opened = sum(video.frames > 0 for video in manifest.videos)
    classes = counted(manifest.classes, "class")
    typer.echo(f"{counted(len(manifest.videos), 'video')}, {opened} of them can be opened, {classes}")
    troubles = {"listed, but not there": [*absent.values()], "cannot be opened": unopened, **listing.warnings}
    for what, places in troubles.items():
        if places:
            typer.echo(f"warning: {describe(what, places)}", err=True)
    if any(len(places) > SHOWN_PLACES for places in listing.warnings.values()):
        typer.echo(f"all warnings on the lists: {manifest.directory / WARNINGS}", err=True)


def assignment(key: str, value: object) -> str:
    """Return ``key=value`` as a shell and YAML read it back."""
    try:
        is_plain = parse_override(f"{key}={value}").values == {key: value}
    except ConfigError:
        is_plain = False
    return shlex.quote(f"{key}={value if is_plain else json.dumps(value, ensure_ascii=False)}")
