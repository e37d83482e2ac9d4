"""``farlab weights convert``: a checkpoint under our names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.checkpoints import FamilyOption, FileArgument, opened, text


def convert(
    file: FileArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.safetensors")],
    family: FamilyOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Write a checkpoint under our names, without anything that could run.

    Examples:
        farlab weights convert mvd.pth mvd.safetensors
    """
    from far.weights.convert import convert as write_converted

    source = opened(file, family)
    write_converted(source, out, overwrite=overwrite)
    typer.echo(f"{out}: {len(source.tensors)} tensors, from")
    typer.echo(text(source))
