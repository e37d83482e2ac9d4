"""``farlab data prepare``: a data set's lists and files become one manifest."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from far.config import parse_override
from far.data.sources.diagnostics import SHOWN as SHOWN_PLACES
from far.data.sources.diagnostics import counted, describe, one_line
from far.data.sources.layouts import LAYOUTS, read_listing
from far.data.sources.manifest import read_manifest
from far.data.sources.open import DEMO
from far.data.sources.prepare import WARNINGS
from far.data.sources.prepare import prepare as write_manifest
from far.data.sources.resize import Resize, check_name, check_place, default_name, resize_videos, short_side
from far.data.sources.resized import VIDEOS, account, summary
from far.errors import ConfigError, DataError
from far.plugins import load_plugin
from orchestrator.cli.datasets import progress_bar
from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import PluginOption, TrustOption
from orchestrator.workspace.plugins import load_workspace_plugins
from orchestrator.workspace.settings import load_settings

if TYPE_CHECKING:
    from far.data.sources.listing import Listing
    from far.data.sources.manifest import Manifest


@modes(
    mode(
        "with --resize",
        ["layout", "folder", "name", "resize", "into", "plugin", "trust"],
        when=lambda values: values["resize"] is not None,
    ),
    mode("without --resize", ["layout", "folder", "name", "plugin", "trust"]),
)
def prepare(
    layout: Annotated[str, typer.Argument(help=f"Layout of the folder: {', '.join(LAYOUTS)}.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the data set here; default: the folder's.", show_default=False)
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS",
            help="Re-encode larger videos with this short side, e.g. 320, for faster decoding.",
            show_default=False,
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="Folder for the resized videos; default: videos/ in the data set's.", show_default=False),
    ] = None,
    plugin: PluginOption = None,
    trust: TrustOption = False,
) -> None:
    """Read a data set's lists, look into its files, write one manifest, and say what is odd.

    With --resize, the data set is called FOLDER-PIXELS unless it is named: another size is another data set.

    Examples:
        farlab data prepare folder clips/ --name mine
        farlab data prepare ssv2 /data/ssv2
        farlab data prepare k400 /data/k400 --resize 320
    """
    for path in plugin or ():
        load_plugin(path)
    if layout == DEMO:
        raise ConfigError(
            "the demo data set is generated, not prepared: data.demo.size is its size", where="command line"
        )
    if layout not in LAYOUTS:
        load_workspace_plugins()
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout '{layout}'", where="command line", choices=LAYOUTS, got=layout)
    pixels = None if resize is None else short_side(resize)
    name = default_name(folder, pixels) if name is None else name
    # a name, not a path: nothing is to be written anywhere but in a folder of the data root
    is_name = Path(name).name == name and name.isprintable() and name[:1] not in ("", ".", "-")
    if not is_name or name == DEMO:
        raise ConfigError(f"a data set cannot be called {name!r}; choose another --name", where="command line")
    directory = load_settings().data_root / name
    wanted = None if pixels is None else Resize(pixels, into or directory / VIDEOS)
    check_name(directory, pixels, default_name(folder, pixels))
    if wanted is not None:
        check_place(wanted, folder)
    listing = read_listing(layout, folder)
    root = folder if wanted is None else wanted.into
    earlier = replaced(directory, root)
    directory.mkdir(parents=True, exist_ok=True)
    used: Any = {}
    if wanted is not None:
        used = resize_videos(listing, wanted, layout=layout, root=folder, directory=directory, show=progress_bar)
    with progress_bar("looking into files") as progress:
        manifest = write_manifest(listing, layout=layout, root=root, directory=directory, progress=progress, **used)
    show_listing(listing, manifest, folder.absolute())
    show_resized(manifest)
    if earlier:
        typer.echo(f"note: {earlier}", err=True)
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


def show_resized(manifest: Manifest) -> None:
    """Say how the videos were resized, if they were, and on standard error which could not be."""
    if (text := summary(manifest)) is None:
        return
    typer.echo(text)
    opened = {f"{video.split}/{video.id}" for video in manifest.videos if video.frames}  # of others it is said already
    kept = account(manifest.note)["not_reencoded"].items()
    if places := [f"{one_line(name)} ({reason})" for name, reason in kept if name in opened]:
        typer.echo(f"warning: {describe('cannot be re-encoded, used as they are', places)}", err=True)


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
