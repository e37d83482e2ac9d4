"""``farlab data check``: every frame of every file decodes, or is named."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from far.data.decoding.indexes import misread
from far.data.sources.prepare import BAD
from far.data.sources.prepare import check as check_files
from far.data.sources.resized import account, summary
from orchestrator.cli.datasets import SHOWN, SourceArgument, load, progress_bar
from orchestrator.cli.options import JsonOption

if TYPE_CHECKING:
    from far.data.sources.manifest import Manifest
    from far.data.sources.prepare import VideoFinding


def check(
    source: SourceArgument = "demo",
    clip: Annotated[int, typer.Option(min=1, help="Frames that a video must have.")] = 16,
    json_: JsonOption = False,
) -> int:
    """Decode every frame of every file; exit 3 if any is missing, damaged or too short.

    Examples:
        farlab data check
        farlab data check ssv2 --json
    """
    manifest = load(source)
    with progress_bar("decoding files") as progress:
        findings = check_files(manifest, clip=clip, progress=progress)
    _, differ = misread(manifest.directory)
    good = len(manifest.videos) - len({(f.split, f.id) for f in findings if f.reason != "listed, but not there"})
    if json_:
        report = {"videos": len(manifest.videos), "good": good, "shares": shares(manifest, findings)}
        report["misread_by_earlier_versions"], report["resized"] = differ, account(manifest.note) or None
        typer.echo(json.dumps({**report, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return 3 if findings else 0
    if resized := summary(manifest):
        typer.echo(resized)
    show_findings(findings)
    show_misread(differ)
    for split, (usable, published) in shares(manifest, findings).items():
        typer.echo(f"{split}: {usable} of {published} videos are good ({usable / published:.2%})")
    return 3 if findings else 0


def show_misread(files: dict[str, str]) -> None:
    """List the files of which earlier versions read other frames."""
    if not files:
        return
    typer.echo(f"misread by earlier versions, now read rightly: {len(files)} (plan, status and report name the trials)")
    for name, reason in [*files.items()][:SHOWN]:
        typer.echo(f"  {name}: {reason}")
    if len(files) > SHOWN:
        typer.echo(f"  and {len(files) - SHOWN} more (--json lists all)")


def show_findings(findings: list[VideoFinding]) -> None:
    """List findings by kind, the first of each in full."""
    for problem in BAD:
        those = [finding for finding in findings if finding.problem == problem]
        if those:
            typer.echo(f"{problem}: {len(those)}")
        for finding in those[:SHOWN]:
            typer.echo(f"  {finding.split}/{finding.id}: {finding.reason}")
        if len(those) > SHOWN:
            typer.echo(f"  and {len(those) - SHOWN} more (--json lists all)")


def shares(manifest: Manifest, findings: list[VideoFinding]) -> dict[str, tuple[int, int]]:
    """Return good and published videos by split."""
    published = manifest.note.get("published")
    result = {}
    for split in sorted({video.split for video in manifest.videos}):
        ids = {video.id for video in manifest.videos if video.split == split}
        good = len(ids - {finding.id for finding in findings if finding.split == split})
        result[split] = (good, published[split] if isinstance(published, dict) else len(ids))
    return result
