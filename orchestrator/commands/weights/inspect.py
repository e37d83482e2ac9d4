"""``farlab weights inspect``: what a checkpoint holds."""

from __future__ import annotations

import json

import typer

from orchestrator.cli.checkpoints import FamilyOption, FileArgument, described, opened, text
from orchestrator.cli.options import JsonOption


def inspect(file: FileArgument, family: FamilyOption = None, json_: JsonOption = False) -> None:
    """Say of which family a file is, its sizes, and which of its tensors a network of ours would use.

    Examples:
        farlab weights inspect mvd.pth
        farlab weights inspect mvd.pth --json
    """
    source = opened(file, family)
    typer.echo(json.dumps(described(source), indent=2) if json_ else text(source))
