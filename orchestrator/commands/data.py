"""``farlab data``: prepare a data set, check its files, show what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.commands.options import JsonOption, ProfileOption

if TYPE_CHECKING:
    from far.config import TrialConfig
    from far.data.sources.listing import Listing
    from far.data.sources.manifest import Manifest
    from far.data.sources.prepare import Finding

SourceArgument = Annotated[
    str, typer.Argument(metavar="[SOURCE]", help="demo, or the name or path of a prepared data set.")
]
SHOWN = 20
"""Findings of each kind that are shown before the rest is only counted."""
SECONDS_BETWEEN_LINES = 60.0
"""Seconds between lines of progress in a pipe."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    data = typer.Typer(name="data", help="Data sets: generate, prepare, check, stats, sample.", no_args_is_help=True)
    app.add_typer(data)

    @data.command("prepare")
    def prepare_(
        layout: Annotated[str, typer.Argument(help="How it is laid out: ssv2, k400, csv, folder.")],
        folder: Annotated[Path, typer.Argument(help="Where the data set lies.")],
        name: Annotated[
            str | None, typer.Option(help="Its name here; default: the folder's.", show_default=False)
        ] = None,
    ) -> None:
        """Read a data set's lists, look into its files, write one manifest, and say what is odd."""
        run_prepare(layout, folder, name)

    @data.command("check")
    def check_(
        source: SourceArgument = "demo",
        clip: Annotated[int, typer.Option(min=1, help="Frames that a video must have.")] = 16,
        json_: JsonOption = False,
    ) -> int:
        """Decode every frame of every file; exit 3 if any is missing, damaged or too short."""
        return run_check(source, clip, json_)

    @data.command("accept")
    def accept_(source: Annotated[str, typer.Argument(help="A prepared data set: its name or path.")]) -> None:
        """Let finished trials that an earlier version showed other frames stand beside new ones, on record."""
        run_accept(source)

    @data.command("stats")
    def stats_(source: SourceArgument = "demo", json_: JsonOption = False) -> None:
        """Show counts by split and class, lengths, rates and sizes."""
        run_stats(source, json_)

    @data.command("generate")
    def generate_(
        overrides: Annotated[
            list[str] | None, typer.Argument(metavar="[KEY=VALUE...]", help="E.g. data.demo.size=64.")
        ] = None,
        profile: ProfileOption = None,
    ) -> None:
        """Generate the demo data set of a profile; a sweep and a training run do so by themselves."""
        run_generate(profile, overrides or [])

    @data.command("sample")
    def sample_(
        source: SourceArgument = "demo",
        overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE...]")] = None,
        out: Annotated[Path, typer.Option("--out", "-o", help="Image file.")] = Path("sample.png"),
        split: Annotated[str, typer.Option(help="train is drawn as augmented.")] = "train",
        count: Annotated[int, typer.Option("--count", "-n", min=1, max=64, help="Clips.")] = 8,
        profile: Annotated[
            str | None, typer.Option("--profile", "-p", help="Whose clip size, sampling and augmentation.")
        ] = None,
    ) -> None:
        """Draw clips as the network gets them."""
        run_sample(source, overrides or [], out, split, count, profile)


def run_prepare(layout: str, folder: Path, name: str | None) -> None:
    """Write a manifest under the data root and say what it holds."""
    from far.data.sources.layouts import LAYOUTS, read_listing
    from far.data.sources.open import DEMO
    from far.data.sources.prepare import prepare
    from far.errors import ConfigError
    from orchestrator.workspace.settings import load_settings

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
        manifest = prepare(listing, layout=layout, root=folder, directory=directory, progress=progress)
    show_listing(listing, manifest, folder.absolute())
    if note:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"data set {manifest.content_hash[:16]} in {directory}")
    settings = {"data.source": name, "data.classes": manifest.classes}
    typer.echo(f"use it with: {' '.join(assignment(key, value) for key, value in settings.items())}")


def replaced(directory: Path, folder: Path) -> str | None:
    """Return what becomes of a data set of another folder that has had this name so far."""
    from far.data.sources.diagnostics import one_line
    from far.data.sources.manifest import read_manifest
    from far.errors import DataError

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
    from far.data.sources.diagnostics import SHOWN as SHOWN_PLACES
    from far.data.sources.diagnostics import counted, describe, one_line
    from far.data.sources.prepare import WARNINGS

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
    import json
    import shlex

    from far.config import parse_override
    from far.errors import ConfigError

    try:
        is_plain = parse_override(f"{key}={value}").values == {key: value}
    except ConfigError:
        is_plain = False
    return shlex.quote(f"{key}={value if is_plain else json.dumps(value, ensure_ascii=False)}")


def run_check(source: str, clip: int, as_json: bool) -> int:
    """Check every file, list what is wrong, and return the exit code."""
    import json
    from dataclasses import asdict

    from far.data.decoding.indexes import misread
    from far.data.sources.prepare import check

    manifest = load(source)
    with progress_bar("decoding files") as progress:
        findings = check(manifest, clip=clip, progress=progress)
    _, differ = misread(manifest.directory)
    good = len(manifest.videos) - len({(f.split, f.id) for f in findings if f.reason != "listed, but not there"})
    if as_json:
        report = {"videos": len(manifest.videos), "good": good, "shares": shares(manifest, findings)}
        report["misread_by_earlier_versions"] = differ
        typer.echo(json.dumps({**report, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return 3 if findings else 0
    show_findings(findings)
    show_misread(differ)
    for split, (usable, published) in shares(manifest, findings).items():
        typer.echo(f"{split}: {usable} of {published} videos are good ({usable / published:.2%})")
    return 3 if findings else 0


def run_accept(source: str) -> None:
    """Put it on record, and say what was accepted."""
    from orchestrator.plan.other_frames import accept
    from orchestrator.workspace.workspace import open_workspace

    accepted = accept(source, open_workspace())
    typer.echo(f"{accepted}: trials that saw other frames of these stand beside others; accepted {accepted.accepted}")


def show_misread(files: dict[str, str]) -> None:
    """List the files of which earlier versions read other frames."""
    if not files:
        return
    typer.echo(f"misread by earlier versions, now read rightly: {len(files)} (plan, status and report name the trials)")
    for name, reason in [*files.items()][:SHOWN]:
        typer.echo(f"  {name}: {reason}")
    if len(files) > SHOWN:
        typer.echo(f"  and {len(files) - SHOWN} more (--json lists all)")


def show_findings(findings: list[Finding]) -> None:
    """List findings by kind, the first of each in full."""
    from far.data.sources.prepare import BAD

    for problem in BAD:
        those = [finding for finding in findings if finding.problem == problem]
        if those:
            typer.echo(f"{problem}: {len(those)}")
        for finding in those[:SHOWN]:
            typer.echo(f"  {finding.split}/{finding.id}: {finding.reason}")
        if len(those) > SHOWN:
            typer.echo(f"  and {len(those) - SHOWN} more (--json lists all)")


def shares(manifest: Manifest, findings: list[Finding]) -> dict[str, tuple[int, int]]:
    """Return good and published videos by split."""
    published = manifest.note.get("published")
    result = {}
    for split in sorted({video.split for video in manifest.videos}):
        ids = {video.id for video in manifest.videos if video.split == split}
        good = len(ids - {finding.id for finding in findings if finding.split == split})
        result[split] = (good, published[split] if isinstance(published, dict) else len(ids))
    return result


def run_stats(source: str, as_json: bool) -> None:
    """Print the statistics of a data set."""
    import json

    from rich.table import Table

    from far.data.sources.describe import statistics
    from far.store.atomic import finite
    from orchestrator.cli.console import make_console

    numbers = statistics(load(source))
    if as_json:
        typer.echo(json.dumps(finite(numbers), indent=2, allow_nan=False))
        return
    typer.echo(f"{numbers['source']}: {numbers['classes']} classes, content {numbers['content_hash'][:16]}")
    splits = numbers["splits"]
    table = Table("", *splits)
    for key in next(iter(splits.values())):
        if any(values[key] is not None for values in splits.values()):
            table.add_row(key.replace("_", " "), *(cell(values[key]) for values in splits.values()))
    make_console().print(table)


def cell(value: Any) -> str:
    """Return a number, or the spread of many, as text."""
    if isinstance(value, dict):
        return f"{value['min']:g} to {value['max']:g}, median {value['median']:g}"
    return "" if value is None else str(value)


def run_sample(source: str, overrides: list[str], out: Path, split: str, count: int, profile: str | None) -> None:
    """Draw clips into an image file."""
    from far.data.sources.describe import contact_sheet
    from far.data.sources.diagnostics import counted
    from far.errors import ConfigError
    from far.store.atomic import is_there
    from orchestrator.cli.inputs import refuse_same_key

    if "=" in source and not is_there(source):
        source, overrides = "demo", [source, *overrides]
    refuse_same_key(overrides)
    manifest = load(source, profile, *(text for text in overrides if text.startswith("data.demo.")))
    config = configured(profile, f"data.classes={manifest.classes}", *overrides)
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent} to write into", where="--out")
    drawn = contact_sheet(manifest, config, split, count, out)
    typer.echo(f"{out}: {counted(len(drawn), 'clip')} of {split}")


def run_generate(profile: str | None, overrides: list[str]) -> None:
    """Generate a profile's demo data set, if it is not there."""
    from far.data.sources.open import DEMO, open_manifest
    from far.errors import ConfigError
    from orchestrator.cli.inputs import refuse_same_key
    from orchestrator.workspace.settings import load_settings

    refuse_same_key(overrides)
    config = configured(profile, *overrides)
    if config.data.source != DEMO:
        raise ConfigError(f"the data set '{config.data.source}' is not generated but prepared", key="data.source")
    with progress_bar("generating the demo data set") as progress:
        manifest = open_manifest(config.data, load_settings().data_root, progress)
    typer.echo(f"{len(manifest.videos)} videos, {manifest.classes} classes: {manifest.content_hash[:16]}")


def load(source: str, profile: str | None = None, *overrides: str) -> Manifest:
    """Return a data set's manifest; ``demo`` is that of the profile, by default the workspace's, with these settings.

    Raises:
        ConfigError: there is none, or it is the demo's and not generated yet.
    """
    from far.data.sources.demo import MOTIONS
    from far.data.sources.manifest import read_manifest
    from far.data.sources.open import DEMO, locate, open_manifest
    from far.errors import ConfigError
    from orchestrator.workspace.fingerprints import is_generated
    from orchestrator.workspace.settings import load_settings

    settings = load_settings()
    if source != DEMO:
        return read_manifest(locate(source, settings.data_root))
    data = configured(profile, *overrides).data.model_copy(update={"source": DEMO, "classes": len(MOTIONS)})
    if not is_generated(data, settings.data_root):
        command = " ".join(["farlab data generate", f"--profile {profile or settings.profile}", *overrides])
        raise ConfigError(f"the demo data set is not in {settings.data_root} yet: `{command}` makes it")
    return open_manifest(data, settings.data_root)


def configured(profile: str | None, *overrides: str) -> TrialConfig:
    """Return the configuration of a profile, by default the workspace's, with overrides."""
    from far.config import parse_override, resolve
    from orchestrator.study.profiles import find_profile, profile_directories
    from orchestrator.workspace.settings import load_settings

    settings = load_settings()
    found = find_profile(profile or settings.profile, profile_directories(settings.workspace))
    return resolve([*found.layers, *(parse_override(text) for text in overrides)])


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on stderr: a bar on a terminal, a line a minute in a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from orchestrator.cli.console import make_console

    console = make_console(stderr=True)
    if not console.is_terminal:
        with line_a_minute(what) as show:
            yield show
        return
    columns = TextColumn(what, markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def line_a_minute(what: str) -> Iterator[Callable[[int, int], None]]:
    """Print on stderr how far it is, once a minute, also while a single file takes longer than that."""
    import threading

    ended = threading.Event()
    state: list[int] = []

    def tell() -> None:
        while not ended.wait(SECONDS_BETWEEN_LINES):
            with suppress(OSError, ValueError):  # nobody reads it any more
                if state:
                    typer.echo(f"{what}: {state[0]} of {state[1]}", err=True)

    def show(done: int, total: int) -> None:
        state[:] = done, total

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield show
    finally:
        ended.set()
        thread.join()
