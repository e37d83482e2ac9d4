"""``farlab sweep``: run what a study asks for and the store does not have yet."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import (
    AddressOption,
    ExecutorOption,
    ProfileOption,
    SeedsOption,
    Targets,
    TrackingOption,
    TrustOption,
    chosen,
    plan_targets,
    runs_trials,
)
from orchestrator.cli.sweeps import execute, rehearse
from orchestrator.estimate import parse_budget
from orchestrator.executors.registry import DEFAULT, EXECUTORS
from orchestrator.plan.rerun import run_again


@runs_trials("targets", "profile", "seeds", "dry_run", "tracking_uri", "executor", "budget", "rerun")
def sweep(
    targets: Targets,
    profile: ProfileOption = None,
    seeds: SeedsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; train nothing.")] = False,
    tracking_uri: TrackingOption = None,
    executor: ExecutorOption = DEFAULT,
    address: AddressOption = None,
    budget: Annotated[
        str | None, typer.Option(help="Stop starting trials after 40gpuh, 8h, 2d or 12trials (exit code 4).")
    ] = None,
    rerun: Annotated[
        list[str] | None,
        typer.Option(
            metavar="changed|ROW|KEY",
            help="Rerun these trials too, keeping their old results aside; may be repeated.",
            show_default=False,
        ),
    ] = None,
    trust: TrustOption = False,
) -> int:
    """Run the trials of studies that are not done yet; run it again to go on after any interruption.

    Examples:
        farlab sweep head_ratio
        farlab sweep my_study.yaml recipe.epochs=4 --seeds 3 --dry-run
        farlab sweep head_ratio --rerun changed
    """
    limit = parse_budget(budget) if budget else None
    plan, workspace = plan_targets(targets, profile, seeds, generate=False, trust=trust)
    workspace = chosen(workspace, tracking_uri=tracking_uri, address=address, executor=executor)
    plan = run_again(plan, rerun or [])
    if dry_run:
        rehearse(plan, workspace, executor, limit)
        return 2 if plan.unusable else 0
    generated = all(trial.is_known for trial in plan.trials)
    if not (generated or plan.refused or EXECUTORS[executor].refused(plan, workspace.settings)):
        plan = run_again(plan_targets(targets, profile, seeds, generate=True, trust=trust)[0], rerun or [])
    return execute(plan, workspace, executor, limit)
