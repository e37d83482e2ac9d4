"""``farlab data sample``: clips as the network gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from far.data.sources.describe import contact_sheet
from far.data.sources.diagnostics import counted
from far.errors import ConfigError
from far.store.atomic import is_there
from orchestrator.cli.datasets import SourceArgument, configured, load
from orchestrator.cli.options import refuse_same_key


def sample(
    source: SourceArgument = "demo",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE...]")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Image file.")] = Path("sample.png"),
    split: Annotated[str, typer.Option(help="train is drawn as augmented.")] = "train",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=64, help="Number of clips.")] = 8,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", help="Profile with clip size, sampling and augmentation.")
    ] = None,
) -> None:
    """Draw clips as the network gets them.

    Examples:
        farlab data sample
        farlab data sample mine --split val -o val.png
    """
    given = overrides or []
    if "=" in source and not is_there(source):
        source, given = "demo", [source, *given]
    refuse_same_key(given)
    manifest = load(source, profile, *(text for text in given if text.startswith("data.demo.")))
    config = configured(profile, f"data.classes={manifest.classes}", *given)
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent} to write into", where="--out")
    drawn = contact_sheet(manifest, config, split, count, out)
    typer.echo(f"{out}: {counted(len(drawn), 'clip')} of {split}")
