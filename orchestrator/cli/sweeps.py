"""Running what a plan has left: for ``farlab sweep``, ``resume`` and ``retry``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from far.errors import ConfigError
from far.redaction import redacted
from orchestrator.cli.console import make_console
from orchestrator.cli.options import (
    note_environment,
    workspace_line,
)
from orchestrator.cli.plans import show, warnings
from orchestrator.cli.quiet import talk
from orchestrator.estimate import estimate_plan, find_target, select_within_budget
from orchestrator.estimate.capacity import with_gpu_packing
from orchestrator.executors.registry import EXECUTORS
from orchestrator.plan.changed_code import with_code
from orchestrator.plan.lockfile import load_lockfile, locked_keys, refuse_namesake
from orchestrator.plan.plan import make_plan
from orchestrator.plan.starts import accounts, with_starts
from orchestrator.store.store import refuse_unknown
from orchestrator.study import submitted_name
from orchestrator.sweep import run_sweep

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan
    from orchestrator.store.store import Store
    from orchestrator.study.schema import BudgetConfig
    from orchestrator.workspace.workspace import Workspace


def rehearse(plan: Plan, workspace: Workspace, executor: str, budget: BudgetConfig | None) -> None:
    """Print what a sweep would run, where, and what a budget would buy of it."""
    settings = workspace.settings
    if budget is None:
        show(plan)
    else:
        target = find_target(settings.device, settings.devices, settings.tflops)
        costs = estimate_plan(plan, workspace.store, target, workspace.video_counts)
        show(plan, costs, select_within_budget(plan, costs, budget))
    for line in EXECUTORS[executor].refused(plan, workspace.settings):
        print(f"problem: {line}", file=sys.stderr)
    print(f"would run {EXECUTORS[executor].where(settings)}; tracked in {redacted(settings.tracking_uri)}")
    print(workspace_line(settings))


def execute(plan: Plan, workspace: Workspace, executor: str, budget: BudgetConfig | None = None) -> int:
    """Run what a plan has left, print how it ended, and return the exit code.

    Args:
        plan: studies and what the store has of them.
        workspace: where trials are kept, and where and how they run.
        executor: its name (``orchestrator.executors.registry``).
        budget: default: the studies' own, if they agree.
    """
    settings = workspace.settings
    note_environment(settings, "MLFLOW_TRACKING_URI", *EXECUTORS[executor].environment)
    plan = plan if plan.starts else with_starts(plan, workspace)  # `retry` and `resume` come here without
    for line in warnings(plan):
        print(line, file=sys.stderr)
    for study in plan.studies:
        refuse_namesake(study, workspace.store)
    if plan.refused:
        return 2

    for text in accounts(plan):
        talk(text)
    target = find_target(settings.device, settings.devices, settings.tflops)
    plan = with_gpu_packing(plan, workspace.store, target, workspace.video_counts)
    if wide := EXECUTORS[executor].refused(plan, workspace.settings):
        for line in wide:
            print(f"problem: {line}", file=sys.stderr)
        return 2
    console = make_console(talk=True)
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
    outcome = run_sweep(plan, workspace, EXECUTORS[executor].make(plan, workspace), console, budget)
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


def find_lockfile(text: str, profile: str | None, store: Store) -> Path:
    """Return the file of a submission.

    Args:
        text: the study's name, or its file.
        profile: the scale, if one is named.
        store: where it was submitted.

    Raises:
        ConfigError: there is no such submission, or several.
    """
    name = submitted_name(text, store.studies(), store.root)
    found = {path.parent.name: path for path in store.study(name).submissions()}
    path = found.get(profile) if profile else next(iter(found.values()))
    if path is None or (profile is None and len(found) > 1):
        raise ConfigError(
            f"'{name}' was submitted with several profiles" if profile is None else f"not with profile '{profile}'",
            key="--profile",
            choices=found,
            got=profile,
        )
    return path


def locked_plan(
    text: str, profile: str | None, workspace: Workspace, *, rows: Sequence[str] = (), ids: Sequence[str] = ()
) -> Plan:
    """Return the plan of a submission; what it has not is refused before its data are looked at or generated.

    Raises:
        ConfigError: there is no such submission, or several.
    """
    store = workspace.store
    path = find_lockfile(text, profile, store)
    study = load_lockfile(path)
    for row in rows:
        study.row(row)
    refuse_unknown(ids, [key for seeds in locked_keys(path).values() for key in seeds.values()])
    plan = make_plan(
        study,
        store,
        manifest_hash=workspace.data_hash,
        weights_hash=workspace.weights_hash,
        present_hash=workspace.present_data_hash,
    )
    return with_code(plan, store)
