"""``farlab new``: a study to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from far.plugins.code import shown_path
from orchestrator.study.new import write_study


def new(
    name: Annotated[str, typer.Argument(help="Name of the study; its file is NAME.yaml.")],
    plugin: Annotated[
        bool, typer.Option("--plugin", help="With an attention pattern of your own in NAME.py, and its test.")
    ] = False,
    into: Annotated[Path, typer.Option("--into", metavar="FOLDER", help="Folder to write to.")] = Path(),
) -> None:
    """Write a study that runs on the demo as it stands, with comments on what to change; nothing is overwritten.

    Examples:
        farlab new stripes --plugin
        farlab new heads --into studies
    """
    written = write_study(name, into, plugin=plugin)
    print(f"wrote {', '.join(shown_path(path.absolute()) for path in written.files)}")
    width = max(len(command) for command, _ in written.commands)
    print("next:")
    for command, what in written.commands:
        print(f"  {command:{width}}  # {what}")
