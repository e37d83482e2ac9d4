"""``farlab chaos``: a sweep under faults, held against an undisturbed one."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from far.errors import ConfigError
from orchestrator.chaos.faults import FAULTS
from orchestrator.chaos.run import Chaos
from orchestrator.cli.console import make_console
from orchestrator.cli.options import JsonOption, ProfileOption, SeedsOption, Targets, load_targets, split_targets
from orchestrator.executors.signals import handlers_restored
from orchestrator.workspace.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.chaos.run import Report


def chaos(
    targets: Targets,
    kills: Annotated[int, typer.Option(min=1, help="Total number of faults.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for which faults strike and when.")] = 0,
    period: Annotated[float, typer.Option(min=0.1, help="Mean seconds between two faults.")] = 10.0,
    fault: Annotated[list[str] | None, typer.Option(help="Only these faults; default: all.")] = None,
    profile: ProfileOption = None,
    seeds: SeedsOption = None,
    json_: JsonOption = False,
) -> int:
    """Run a study under random faults and check that it ends like an undisturbed one (exit 3 if not).

    Examples:
        farlab chaos head_ratio --seeds 1 --kills 5 --seed 3
        farlab chaos head_ratio --fault 'worker killed' --json
    """
    for name in fault or []:
        if name not in FAULTS:
            raise ConfigError(f"unknown fault '{name}'", key="--fault", choices=FAULTS, got=name)
    studies = load_targets(targets, profile, seeds)
    _, overrides = split_targets(targets)
    arguments = [str(study.path.resolve()) for study in studies] + overrides
    for option, value in (("--profile", profile), ("--seeds", seeds)):
        arguments += [option, value] if value else []
    settings = load_settings()
    # The run ignores signals once it has been asked to stop, until its folder is gone.
    with (
        handlers_restored(),
        tempfile.TemporaryDirectory(prefix="farlab-chaos-", ignore_cleanup_errors=True) as directory,
    ):
        run = Chaos(
            arguments,
            Path(directory),
            data_root=settings.data_root,
            weights_root=settings.weights_root,
            seed=seed,
            period=period,
            faults=fault,
            searches=any(study.search is not None for study in studies),
            shares=any(study.search or any(row.config.data.share != "off" for row in study.rows) for study in studies),
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        report = run.run(kills)
    _show(report, json_)
    return 3 if report.violations else 0


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        figures = {"ratio": report.ratio, "epochs_ratio": report.epochs.ratio, "violations": report.violations}
        print(json.dumps({**asdict(report), **figures}, indent=1))
        return

    table = Table(title="What was survived", title_justify="left")
    for header in ("fault", "struck", "ended the driver", "violations"):
        table.add_column(header, justify="left" if header == "fault" else "right")
    struck = Counter(strike.fault for strike in report.strikes)
    for name, number in sorted(struck.items()):
        own = [strike for strike in report.strikes if strike.fault == name]
        ended = sum(strike.code is not None for strike in own)
        table.add_row(name, str(number), str(ended), str(sum(len(strike.wrong) for strike in own)))
    console = make_console()
    console.print(table)
    console.print(
        f"{len(report.strikes)} faults in {report.rounds} sweeps, {len(report.violations)} violations; "
        f"{report.seconds:.0f} s against {report.rounds} x {report.clean_seconds:.0f} s undisturbed "
        f"({report.ratio:.2f}x)"
    )
    console.print(
        f"{report.epochs.trained:.1f} epochs trained at most, {report.epochs.needed:.0f} needed "
        f"({report.epochs.ratio:.3f}x)"
    )
    if report.impossible:
        console.print(f"not possible on this machine or with this study: {', '.join(report.impossible)}")
    for text in report.violations:
        print(f"violation: {text}", file=sys.stderr)
