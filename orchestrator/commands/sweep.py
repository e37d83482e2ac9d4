"""``farlab sweep``: run what a study asks for and the store does not have yet."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.inputs import mode, modes
from orchestrator.commands.options import (
    AddressOption,
    ProfileOption,
    SeedsOption,
    Targets,
    TrackingOption,
    TrustOption,
)

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan
    from orchestrator.study.schema import BudgetConfig
    from orchestrator.workspace.settings import Settings
    from orchestrator.workspace.workspace import Workspace


class ExecutorName(enum.StrEnum):
    """Who runs the trials."""

    ray = "ray"
    local = "local"


SWEEP_INPUTS = ("targets", "profile", "seeds", "dry_run", "tracking_uri", "executor", "budget")


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("sweep")
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
        from orchestrator.commands.options import chosen, plan_targets
        from orchestrator.estimate import parse_budget

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


def rehearse(plan: Plan, workspace: Workspace, executor: str, budget: BudgetConfig | None) -> None:
    """Print what a sweep would run, where, and what a budget would buy of it."""
    from far.redaction import redacted
    from orchestrator.commands.options import workspace_line
    from orchestrator.commands.plan import show
    from orchestrator.estimate import afford, find_target, quote

    settings = workspace.settings
    if budget is None:
        show(plan)
    else:
        target = find_target(settings.device, settings.devices, settings.tflops)
        prices = quote(plan, workspace.store, target, workspace.video_counts)
        show(plan, prices, afford(plan, prices, budget))
    for line in refused(plan, workspace.settings, executor):
        print(f"problem: {line}", file=sys.stderr)
    by = "one after another in this process" if executor == "local" else f"by Ray, {settings.ray_address or 'here'}"
    print(f"would run {by}; tracked in {redacted(settings.tracking_uri)}")
    print(workspace_line(settings))


def refused(plan: Plan, settings: Settings, executor: str) -> list[str]:
    """Return what this machine has no room for, before anything is written; a cluster elsewhere is asked later."""
    from orchestrator.estimate import find_target
    from orchestrator.estimate.capacity import misfits, several_processes

    if executor == "local":
        return several_processes(plan.missing())
    return misfits(plan.missing(), find_target(None)) if settings.ray_address is None else []


def execute(plan: Plan, workspace: Workspace, executor: str, budget: BudgetConfig | None = None) -> int:
    """Run what a plan has left, tell how it ended, and return the exit code.

    Args:
        plan: studies and what the store has of them.
        workspace: where trials are kept, and where and how they run.
        executor: ``ray`` or ``local``.
        budget: default: the studies' own, if they agree.
    """
    from orchestrator.commands.options import note_environment, workspace_line
    from orchestrator.commands.plan import warnings
    from orchestrator.plan.lockfile import refuse_namesake
    from orchestrator.plan.starts import accounts, with_starts

    settings = workspace.settings
    note_environment(settings, "MLFLOW_TRACKING_URI", *(() if executor == "local" else ("RAY_ADDRESS",)))
    plan = plan if plan.starts else with_starts(plan, workspace)  # `retry` and `resume` come here without
    for line in warnings(plan):
        print(line, file=sys.stderr)
    for study in plan.studies:
        refuse_namesake(study, workspace.store)
    if plan.refused:
        return 2
    from orchestrator.cli.console import make_console
    from orchestrator.estimate import find_target
    from orchestrator.estimate.capacity import packed
    from orchestrator.sweep import make_executor, run_sweep

    for text in accounts(plan):
        print(text, flush=True)
    target = find_target(settings.device, settings.devices, settings.tflops)
    plan = packed(plan, workspace.store, target, workspace.video_counts)
    if wide := refused(plan, workspace.settings, executor):
        for line in wide:
            print(f"problem: {line}", file=sys.stderr)
        return 2
    console = make_console()
    todo, distinct = plan.missing(), plan.unique()
    searched = sum(study.search.trials for study in plan.studies if study.search)
    console.print(
        f"{', '.join(study.name for study in plan.studies)} (profile {plan.studies[0].profile.name}): "
        f"{len(distinct)} trials, {len(distinct) - len(todo)} done, {len(todo)} to run"
        + (f", then a search of {searched} trials" if searched else "")
    )
    if settings.workspace != Path.cwd():
        console.print(workspace_line(settings))
    if budget is None:
        limits = [study.budget for study in plan.studies]
        budget = limits[0] if all(limit == limits[0] for limit in limits) else None
    outcome = run_sweep(plan, workspace, make_executor(executor, plan, workspace), console, budget)
    for line in outcome.bad:
        print(line, file=sys.stderr)
    if outcome.untracked:
        print(
            f"warning: MLflow is not up to date ({outcome.untracked}); the next sweep or `farlab sync` catches up",
            file=sys.stderr,
        )
    if outcome.interrupted:
        print(
            f"interrupted: {outcome.finished} trials are finished and kept; run the same command again to go on",
            file=sys.stderr,
        )
    else:
        if outcome.over_budget:
            print(f"budget reached: {outcome.left} trials are left", file=sys.stderr)
        pruned = f", {outcome.pruned} of them pruned" if outcome.pruned else ""
        console.print(f"{outcome.finished}/{outcome.total} trials finished{pruned}")
    return outcome.exit_code
