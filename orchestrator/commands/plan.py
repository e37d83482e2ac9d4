"""``farlab plan``: what a sweep would run, what the store already has, and what the rest costs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import (
    JsonOption,
    ProfileOption,
    SeedsOption,
    Targets,
    TrustOption,
    plan_targets,
    workspace_json,
    workspace_line,
)
from orchestrator.cli.plans import as_json, show
from orchestrator.estimate import estimate_plan, find_target, parse_budget, select_within_budget
from orchestrator.estimate.capacity import misfits, with_gpu_packing
from orchestrator.estimate.measurements import probe_plan
from orchestrator.study.schema import BudgetConfig

PLAN_INPUTS = ("targets", "profile", "seeds", "budget", "json_", "trust")


@modes(
    mode("with --probe, which measures here", (*PLAN_INPUTS, "devices", "probe"), when="probe"),
    mode("here", (*PLAN_INPUTS, "device", "devices", "tflops")),
)
def plan(
    targets: Targets,
    profile: ProfileOption = None,
    seeds: SeedsOption = None,
    budget: Annotated[
        str | None, typer.Option(help="Show which trials fit into a budget: 40gpuh, 8h, 2d or 12trials.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Estimate for this GPU, e.g. a100-80g; default: farlab.toml, then here.")
    ] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Number of devices.")] = None,
    tflops: Annotated[
        float | None, typer.Option(help="Stated dense 16-bit peak of one GPU, for one that is not in the table.")
    ] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Measure a few steps of each row here.")] = False,
    json_: JsonOption = False,
    trust: TrustOption = False,
) -> int:
    """Show the trials of studies, which are done, what the rest costs; exit 2 if the data here fail them.

    Examples:
        farlab plan head_ratio
        farlab plan head_ratio --profile ssv2-small-mvd --device a100-80g --devices 4
        farlab plan studies/ --seeds 3 --budget 40gpuh --json
    """
    limit = parse_budget(budget) if budget else None
    made, workspace = plan_targets(targets, profile, seeds, generate=probe)
    if probe:
        probe_plan(made, workspace)
    settings, store = workspace.settings, workspace.store
    here = probe or (device is None and settings.device is None)
    stated = tflops if device or here else tflops or settings.tflops
    target = find_target(None if here else device or settings.device, devices or settings.devices, stated)
    made = with_gpu_packing(made, store, target, workspace.video_counts)
    wide = [] if target.here and settings.ray_address else misfits(made.missing(), target)
    made = replace(made, problems=(*made.problems, *wide))
    estimate = estimate_plan(made, store, target, workspace.video_counts)
    if limit is None:
        limits = {study.budget for study in made.studies} - {BudgetConfig()}
        limit = next(iter(limits)) if len(limits) == 1 else None
    selected = select_within_budget(made, estimate, limit) if limit else None
    if json_:
        whole = {**workspace_json(settings), **as_json(made, estimate, selected)}
        print(json.dumps(whole, indent=1, ensure_ascii=False))
    else:
        show(made, estimate, selected)
        print(workspace_line(settings))
    return 2 if made.unusable else 0
