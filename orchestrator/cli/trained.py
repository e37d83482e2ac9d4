"""What the commands on a trained network share: its data, views, and whether the code is still its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from far.data.sources.classes import class_names
from far.data.sources.manifest import read_manifest
from far.data.sources.open import locate, open_manifest
from far.errors import ConfigError
from far.store.paths import TrialPaths
from orchestrator.cli.inputs import COMMAND_LINE
from orchestrator.plan.changed_code import verdict_of

if TYPE_CHECKING:
    from far.config import TrialConfig
    from far.data import Manifest
    from far.trained.network import Trained
    from orchestrator.plan.changed_code import Verdict
    from orchestrator.workspace.workspace import Workspace

ViewsOption = Annotated[
    str | None,
    typer.Option(help="Temporal clips x spatial crops, e.g. 2x3; default: the trial's.", show_default=False),
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="A prepared data set instead of the trial's own.", show_default=False),
]


def parse_views(text: str | None) -> tuple[int, int] | None:
    """Read ``--views``.

    Raises:
        ConfigError: it is not clips x crops.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,3})[x×]([1-9]\d{0,3})", text)
    if match is None:
        raise ConfigError(f"'{text}' is not clips x crops, such as 2x3", key="--views", where=COMMAND_LINE)
    return int(match[1]), int(match[2])


def data_of(config: TrialConfig, name: str | None, split: str, workspace: Workspace) -> Manifest:
    """Return the data set that a network is run on: the trial's own, or another one that was prepared.

    Raises:
        ConfigError: there is no such data set, or no such split in it.
        DataError: its manifest is damaged.
    """
    root = workspace.settings.data_root
    if name is None:
        manifest = open_manifest(config.data, root)
    else:
        with _blamed_on("--data"):
            manifest = read_manifest(locate(name, root))
    with _blamed_on("--split"):
        manifest.split(split)
    return manifest


@contextmanager
def _blamed_on(option: str) -> Iterator[None]:
    """Name the option whose value is wrong."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(error.message, key=option, where=COMMAND_LINE, choices=error.choices, got=error.got) from None


def check_labels(manifest: Manifest, directory: Path, trained: Trained, workspace: Workspace) -> None:
    """Check that the labels of a data set mean what a network's answers mean.

    Raises:
        ConfigError: its classes are others than those that the network was trained on.
    """
    source, identity = trained.config.data.source, trained.identity
    if manifest.content_hash == (identity.get("data") or {}).get("content"):
        return
    names = class_names(TrialPaths(directory), source, trained.classes, identity, workspace.settings.data_root)
    known = names or manifest.labels
    if len(manifest.labels) != trained.classes:
        raise ConfigError(f"has {manifest.classes} classes, the trial {trained.classes}", where=str(manifest.directory))
    for number, (here, there) in enumerate(zip(known, manifest.labels, strict=True)):
        if here != there:
            raise ConfigError(
                f"class {number} is '{there}', for the trial it is '{here}'", where=str(manifest.directory)
            )
    print(f"note: {manifest.directory} is not the data set, or not as it was, that was trained on", file=sys.stderr)


def check_code(directory: Path, trained: Trained, workspace: Workspace) -> Verdict:
    """Return how the code behind a network compares with what is here; say on standard error if it has changed."""
    verdict = verdict_of(directory, trained.config, workspace.store)
    if verdict.text:
        print(f"warning: these are old weights in new code: {verdict.text}", file=sys.stderr)
    return verdict
