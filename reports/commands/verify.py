"""``farlab verify``: does a table still say what its trials say?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import existing_store
from orchestrator.workspace.settings import load_settings
from reports.verification.check import verify as check
from reports.verification.verdict import lines

if TYPE_CHECKING:
    from reports.verification.verdict import Verdict


def verify(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Tables written by farlab report: .tex, .html, .md, .csv, .json."),
    ],
    store: Annotated[Path | None, typer.Option(help="Read this store instead of the workspace's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Trace every number of a table to its trials and make it again from their predictions.

    Lists what was edited, what is stale, and which other code made it. Exit code 3 if anything is wrong.

    Examples:
        farlab verify table.tex
        farlab verify tables/*.csv --json
    """
    place = existing_store(store) or load_settings().store
    found = {str(path): check(path, place) for path in files}
    if as_json:
        typer.echo(
            json.dumps({path: [_plain(each) for each in verdicts] for path, verdicts in found.items()}, indent=1)
        )
    else:
        for path, verdicts in found.items():
            typer.echo(path)
            for line in lines(verdicts):
                typer.echo(line)
    if any(each.findings for verdicts in found.values() for each in verdicts):
        raise typer.Exit(3)


def _plain(verdict: Verdict) -> dict[str, object]:
    return {
        "table": verdict.title,
        "findings": [{"kind": finding.kind.value, "text": finding.text} for finding in verdict.findings],
        "remarks": verdict.remarks,
        "compared": verdict.compared,
        "trials": verdict.trials,
    }
