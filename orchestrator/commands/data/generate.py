"""``farlab data generate``: the demo data set of a profile."""

from __future__ import annotations

from typing import Annotated

import typer

from far.data.sources.open import DEMO, open_manifest
from far.errors import ConfigError
from orchestrator.cli.datasets import configured, progress_bar
from orchestrator.cli.options import ProfileOption, refuse_same_key
from orchestrator.workspace.settings import load_settings


def generate(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE...]", help="Overrides, e.g. data.demo.size=64.")
    ] = None,
    profile: ProfileOption = None,
) -> None:
    """Generate the demo data set of a profile; a sweep and a training run do so by themselves.

    Examples:
        farlab data generate
        farlab data generate --profile demo data.demo.size=48
    """
    given = overrides or []
    refuse_same_key(given)
    config = configured(profile, *given)
    if config.data.source != DEMO:
        raise ConfigError(f"the data set '{config.data.source}' is not generated but prepared", key="data.source")
    with progress_bar("generating the demo data set") as progress:
        manifest = open_manifest(config.data, load_settings().data_root, progress)
    typer.echo(f"{len(manifest.videos)} videos, {manifest.classes} classes: {manifest.content_hash[:16]}")
