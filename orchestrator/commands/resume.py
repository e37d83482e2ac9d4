"""``farlab resume``: a submitted study goes on, by name, as it was frozen."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import AddressOption, ExecutorOption, ProfileOption, TrackingOption, TrustOption, chosen
from orchestrator.cli.sweeps import execute, frozen_plan
from orchestrator.executors.registry import DEFAULT, looks_at
from orchestrator.workspace.workspace import open_workspace

Name = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name, or its file.")]
LOCAL = ("study", "profile", "executor", "tracking_uri")


@modes(
    mode("with --executor {executor}", LOCAL, when=lambda given: not looks_at(given, "address")),
    mode("here", (*LOCAL, "address", "trust")),
)
def resume(
    study: Name,
    profile: ProfileOption = None,
    executor: ExecutorOption = DEFAULT,
    address: AddressOption = None,
    tracking_uri: TrackingOption = None,
    trust: TrustOption = False,
) -> int:
    """Go on with a study as it was submitted, whatever its file says now."""
    workspace = chosen(open_workspace(trust=trust), tracking_uri=tracking_uri, address=address, executor=executor)
    plan = frozen_plan(study, profile, workspace)
    return execute(plan, workspace, executor)
