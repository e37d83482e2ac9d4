"""``farlab resume``: a submitted study goes on, by name, as it was frozen."""

from __future__ import annotations

from orchestrator.cli.options import (
    AddressOption,
    ExecutorOption,
    ProfileOption,
    SubmittedArgument,
    TrackingOption,
    TrustOption,
    chosen,
    runs_trials,
)
from orchestrator.cli.sweeps import execute, find_lockfile, locked_plan
from orchestrator.executors.registry import DEFAULT
from orchestrator.plan.lockfile import load_submitted_plugins
from orchestrator.workspace.workspace import open_workspace


@runs_trials("study", "profile", "executor", "tracking_uri")
def resume(
    study: SubmittedArgument,
    profile: ProfileOption = None,
    executor: ExecutorOption = DEFAULT,
    address: AddressOption = None,
    tracking_uri: TrackingOption = None,
    trust: TrustOption = False,
) -> int:
    """Go on with a study as it was submitted, whatever its file says now.

    Examples:
        farlab resume head_ratio
        farlab resume head_ratio --executor local
    """
    workspace = open_workspace(trust=trust)
    load_submitted_plugins(find_lockfile(study, profile, workspace.store))
    workspace = chosen(workspace, tracking_uri=tracking_uri, address=address, executor=executor)
    plan = locked_plan(study, profile, workspace)
    return execute(plan, workspace, executor)
