"""``farlab export``: a study as one folder or file, enough for another machine to report and to rerun."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from far.errors import ConfigError
from far.store.atomic import scratch_path, storage_errors
from orchestrator.cli.completion import offer_submitted
from orchestrator.cli.datasets import progress_bar
from orchestrator.cli.options import ProfileOption
from orchestrator.cli.quiet import talk
from orchestrator.cli.sweeps import find_lockfile
from orchestrator.estimate.format import size
from orchestrator.monitor.trial import folder_size
from orchestrator.workspace.workspace import open_workspace
from reports.export.folder import contents, write_folder
from reports.renderers import INSTEAD, SUFFIXES

ARCHIVES = {".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zst"}
"""Endings of files that would have to be another archive."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every member of an archive, so that equal contents are equal files."""


def export(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="A submitted study: its name, or its file.", autocompletion=offer_submitted
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder, or a file that ends in .zip.")],
    profile: ProfileOption = None,
    predictions: Annotated[
        bool, typer.Option(help="With the scores of every video, which `farlab verify` and paired tests read.")
    ] = True,
    weights: Annotated[
        bool, typer.Option("--weights", help="With the trained networks, without optimiser, and initial weights.")
    ] = False,
) -> None:
    """Write a study with its lockfile, results, provenance and tables, as a folder that is an RO-Crate.

    In it, report, plan, verify and train work as here. It holds no absolute paths, host or user names.

    Examples:
        farlab export head_ratio -o head_ratio/
        farlab export head_ratio -o head_ratio.zip --weights
        farlab export head_ratio -o small.zip --no-predictions
    """
    suffix = output.suffix.lower()
    if suffix in ARCHIVES | {*SUFFIXES} | {*INSTEAD}:
        text = f"nothing is exported as {suffix}: a folder has no such ending, an archive ends in .zip"
        raise ConfigError(text, key="--output", where=str(output))
    workspace = open_workspace()
    chosen = contents(
        find_lockfile(study, profile, workspace.store), workspace, predictions=predictions, weights=weights
    )
    if not chosen.keys:
        raise ConfigError(f"no trial of '{study}' has run yet", key="STUDY")
    is_archive = suffix == ".zip"
    if output.exists() and (not output.is_dir() or is_archive or any(output.iterdir())):
        raise ConfigError("exists already; name a new one", key="--output", where=str(output))
    partial = scratch_path(output.absolute())
    try:
        with storage_errors(output):
            partial.mkdir(parents=True)
            with progress_bar("trials written") as show:
                write_folder(chosen, workspace, partial, show)
            written = folder_size(partial)
            if is_archive:
                archive = scratch_path(output.absolute(), "tmp")
                _pack(partial, archive, output.stem)
                archive.replace(output)
            else:
                partial.replace(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    talk(f"wrote {output}: {len(chosen.keys)} trials, {size(written)}")


def _pack(folder: Path, archive: Path, top: str) -> None:
    """Pack a folder as one of this name."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                about = zipfile.ZipInfo(f"{top}/{path.relative_to(folder).as_posix()}", EPOCH)
                about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                with path.open("rb") as source, packed.open(about, "w") as target:
                    shutil.copyfileobj(source, target)
