"""``farlab data accept``: accept trials that saw other frames, on record."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.plan.other_frames import accept as put_on_record
from orchestrator.workspace.workspace import open_workspace


def accept(source: Annotated[str, typer.Argument(help="A prepared data set: its name or path.")]) -> None:
    """Let finished trials that an earlier version showed other frames be averaged with new ones, on record.

    Examples:
        farlab data accept ssv2
    """
    accepted = put_on_record(source, open_workspace())
    typer.echo(
        f"{accepted}: trials that saw other frames of these are averaged with others; accepted {accepted.accepted}"
    )
