"""``farlab sweep``: run what a study asks for and the store does not have yet."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import (
    AddressOption,
    ProfileOption,
    SeedsOption,
    Targets,
    TrackingOption,
    TrustOption,
    chosen,
    plan_targets,
)
from orchestrator.cli.sweeps import ExecutorName, execute, refused, rehearse
from orchestrator.estimate import parse_budget

SWEEP_INPUTS = ("targets", "profile", "seeds", "dry_run", "tracking_uri", "executor", "budget")


@modes(
    mode("with --executor local", SWEEP_INPUTS, when=lambda given: given["executor"] == ExecutorName.local),
    mode("here", (*SWEEP_INPUTS, "address", "trust")),
)
def sweep(
    targets: Targets,
    profile: ProfileOption = None,
    seeds: SeedsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; train nothing.")] = False,
    tracking_uri: TrackingOption = None,
    executor: Annotated[ExecutorName, typer.Option(help="Who runs the trials.")] = ExecutorName.ray,
    address: AddressOption = None,
    budget: Annotated[
        str | None, typer.Option(help="Stop starting trials after 40gpuh, 8h, 2d or 12trials (exit code 4).")
    ] = None,
    trust: TrustOption = False,
) -> int:
    """Run the trials of studies that are not done yet; run it again to go on after any interruption."""

    limit = parse_budget(budget) if budget else None
    plan, workspace = plan_targets(targets, profile, seeds, generate=False, trust=trust)
    workspace = chosen(workspace, tracking_uri=tracking_uri, address=address, executor=executor.value)
    if dry_run:
        rehearse(plan, workspace, executor.value, limit)
        return 2 if plan.unusable else 0
    generated = all(trial.is_known for trial in plan.trials)
    if not (generated or plan.refused or refused(plan, workspace.settings, executor.value)):
        plan, _ = plan_targets(targets, profile, seeds, generate=True, trust=trust)
    return execute(plan, workspace, executor.value, limit)
