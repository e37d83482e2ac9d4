"""``farlab retry``: trials of a submitted study that ended badly, once more."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError
from orchestrator.cli.options import (
    AddressOption,
    ExecutorOption,
    IdsOption,
    ProfileOption,
    RowsOption,
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

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan
    from orchestrator.store.store import Store
    from orchestrator.workspace.workspace import Workspace


@runs_trials("study", "profile", "executor", "tracking_uri", "failed", "diverged", "row", "id_")
def retry(
    study: SubmittedArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Trials that failed.")] = False,
    diverged: Annotated[bool, typer.Option("--diverged", help="Trials whose loss diverged.")] = False,
    row: RowsOption = None,
    id_: IdsOption = None,
    profile: ProfileOption = None,
    executor: ExecutorOption = DEFAULT,
    address: AddressOption = None,
    tracking_uri: TrackingOption = None,
    trust: TrustOption = False,
) -> int:
    """Run trials again that ended badly; nothing else is run. Finished trials stay.

    Examples:
        farlab retry head_ratio --failed
        farlab retry head_ratio --failed --diverged --row 1:1
    """
    if not (failed or diverged):
        raise ConfigError("say what to retry", where="command line", choices=["--failed", "--diverged"])

    workspace = open_workspace(trust=trust)
    load_submitted_plugins(find_lockfile(study, profile, workspace.store))
    workspace = chosen(workspace, tracking_uri=tracking_uri, address=address, executor=executor)
    plan = locked_plan(study, profile, workspace, rows=row or [], ids=id_ or [])
    wanted = {"failed": failed, "diverged": diverged}
    return _retry(plan, workspace, executor, wanted, row or [], id_ or [])


def _retry(
    plan: Plan,
    workspace: Workspace,
    executor: str,
    wanted: dict[str, bool],
    rows: list[str],
    ids: list[str],
) -> int:
    rows = [plan.studies[0].row(row).name for row in rows]
    again = {
        trial.key
        for trial in plan.trials
        if wanted.get(trial.state) and (not rows or trial.row in rows) and (not ids or trial.key.startswith(tuple(ids)))
    }
    if not again:
        print("nothing to retry", file=sys.stderr)
        return 0
    with workspace.store.lock_study(plan.studies[0].name):
        for key in again:
            _set_aside(workspace.store, key)
    trials = tuple(replace(t, state="interrupted") for t in plan.trials if t.key in again)
    studies = tuple(replace(study, search=None) for study in plan.studies)  # only these trials, no new proposals
    return execute(replace(plan, studies=studies, trials=trials), workspace, executor)


def _set_aside(store: Store, key: str) -> None:
    """Set the bad result aside, so that the trial counts as not run and its history is not lost."""
    result = store.paths(key).result
    number = len(list(result.parent.glob("result.*.json")))
    result.replace(result.with_name(f"result.{number}.json"))
