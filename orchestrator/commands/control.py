"""``farlab resume``, ``retry`` and ``cancel``: a submitted study, by name, as it was frozen."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.inputs import mode, modes
from orchestrator.commands.options import AddressOption, ProfileOption, TrackingOption, TrustOption
from orchestrator.commands.sweep import ExecutorName, execute

if TYPE_CHECKING:
    from orchestrator.plan.plan import Plan
    from orchestrator.store.store import Store
    from orchestrator.workspace.workspace import Workspace

Name = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name, or its file.")]
ExecutorOption = Annotated[ExecutorName, typer.Option(help="Who runs the trials.")]


LOCAL = ("study", "profile", "executor", "tracking_uri")
RETRIED = (*LOCAL, "failed", "diverged", "row", "id_")


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command("resume")
    @modes(
        mode("with --executor local", LOCAL, when=lambda given: given["executor"] == ExecutorName.local),
        mode("here", (*LOCAL, "address", "trust")),
    )
    def resume(
        study: Name,
        profile: ProfileOption = None,
        executor: ExecutorOption = ExecutorName.ray,
        address: AddressOption = None,
        tracking_uri: TrackingOption = None,
        trust: TrustOption = False,
    ) -> int:
        """Go on with a study as it was submitted, whatever its file says now."""
        from orchestrator.commands.options import chosen
        from orchestrator.workspace.workspace import open_workspace

        workspace = chosen(
            open_workspace(trust=trust), tracking_uri=tracking_uri, address=address, executor=executor.value
        )
        plan = _frozen_plan(study, profile, workspace)
        return execute(plan, workspace, executor.value)

    @app.command("retry")
    @modes(
        mode("with --executor local", RETRIED, when=lambda given: given["executor"] == ExecutorName.local),
        mode("here", (*RETRIED, "address", "trust")),
    )
    def retry(
        study: Name,
        failed: Annotated[bool, typer.Option("--failed", help="Trials that failed.")] = False,
        diverged: Annotated[bool, typer.Option("--diverged", help="Trials whose loss diverged.")] = False,
        row: Annotated[list[str] | None, typer.Option("--row", "-r", help="Only of this row.")] = None,
        id_: Annotated[list[str] | None, typer.Option("--id", help="Only keys that begin so.")] = None,
        profile: ProfileOption = None,
        executor: ExecutorOption = ExecutorName.ray,
        address: AddressOption = None,
        tracking_uri: TrackingOption = None,
        trust: TrustOption = False,
    ) -> int:
        """Run trials again that ended badly; nothing else is run. Finished trials stay."""
        from far.errors import ConfigError

        if not (failed or diverged):
            raise ConfigError("say what to retry", where="command line", choices=["--failed", "--diverged"])
        from orchestrator.commands.options import chosen
        from orchestrator.workspace.workspace import open_workspace

        workspace = chosen(
            open_workspace(trust=trust), tracking_uri=tracking_uri, address=address, executor=executor.value
        )
        plan = _frozen_plan(study, profile, workspace, rows=row or [], ids=id_ or [])
        wanted = {"failed": failed, "diverged": diverged}
        return _retry(plan, workspace, executor.value, wanted, row or [], id_ or [])

    @app.command("cancel")
    @modes(
        mode("with --row or --id", ("studies", "row", "id_", "profile"), when=("row", "id_")),
        mode("without --row or --id: the whole sweep is stopped", ("studies", "timeout")),
    )
    def cancel(
        studies: Annotated[list[str], typer.Argument(metavar="STUDY...", help="Names of studies.")],
        row: Annotated[list[str] | None, typer.Option("--row", "-r", help="Only this row's trials.")] = None,
        id_: Annotated[list[str] | None, typer.Option("--id", help="Only trials whose key begins so.")] = None,
        profile: ProfileOption = None,
        timeout: Annotated[
            float, typer.Option(min=0, help="Seconds to wait for a clean stop of the whole sweep.")
        ] = 120.0,
    ) -> None:
        """Stop a running sweep cleanly, or only some of its trials while the others go on.

        Checkpoints are kept: a later sweep goes on from them.
        """
        from orchestrator.study import submitted_name
        from orchestrator.workspace.workspace import open_workspace

        store = open_workspace().store
        names = [submitted_name(text, store.studies(), store.root) for text in studies]
        if row or id_:
            _cancel_trials(store, names, profile, row or [], id_ or [])
            return
        for name in names:
            _cancel(store, name, timeout)


def _frozen_plan(
    text: str, profile: str | None, workspace: Workspace, *, rows: Sequence[str] = (), ids: Sequence[str] = ()
) -> Plan:
    """Return the plan of a submission; what it has not is refused before its data are looked at or generated.

    Raises:
        ConfigError: there is no such submission, or none of these rows or keys in it.
    """
    from far.errors import ConfigError
    from orchestrator.plan.lockfile import frozen_keys, load_frozen
    from orchestrator.plan.plan import make_plan
    from orchestrator.study import submitted_name

    store = workspace.store
    name = submitted_name(text, store.studies(), store.root)
    found = {path.parent.name: path for path in store.study(name).submissions()}
    path: Path | None = found.get(profile) if profile else next(iter(found.values()))
    if path is None or (profile is None and len(found) > 1):
        raise ConfigError(
            f"'{name}' was submitted with several profiles" if profile is None else f"not with profile '{profile}'",
            key="--profile",
            choices=found,
            got=profile,
        )
    study = load_frozen(path)
    for row in rows:
        study.row(row)
    keys = [key for seeds in frozen_keys(path).values() for key in seeds.values()]
    for beginning in ids:
        if not any(key.startswith(beginning) for key in keys):
            raise ConfigError(f"no trial begins with '{beginning}'", key="--id", choices=keys[:10], got=beginning)
    return make_plan(study, store, manifest_hash=workspace.data_hash, weights_hash=workspace.weights_hash)


def _retry(
    plan: Plan,
    workspace: Workspace,
    executor: str,
    wanted: dict[str, bool],
    rows: list[str],
    ids: list[str],
) -> int:
    from dataclasses import replace

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
    """Keep the bad result beside, so that the trial counts as not run and its history is not lost."""
    result = store.paths(key).result
    number = len(list(result.parent.glob("result.*.json")))
    result.replace(result.with_name(f"result.{number}.json"))


def _cancel_trials(store: Store, studies: list[str], profile: str | None, rows: list[str], ids: list[str]) -> None:
    """Ask those who run these trials to stop; those that wait are left out when their turn comes."""
    from orchestrator.monitor.status import chosen, statuses

    found = chosen(statuses(store, studies, profile), rows=rows, ids=ids)
    trials = {
        t.key: t for study in found for t in study.trials if t.state in ("running", "queued", "missing", "interrupted")
    }
    for key, trial in trials.items():
        paths = store.paths(key)
        if paths.directory.is_dir():  # what was never submitted has nobody to ask
            paths.cancel.touch()
            print(f"{trial.row}, seed {trial.seed} ({key}) is asked to stop")
    if not trials:
        print("nothing to cancel", file=sys.stderr)


def _cancel(store: Store, name: str, timeout: float) -> None:
    from far.errors import ConfigError, FarError
    from far.store.atomic import read_json
    from orchestrator.store.store import is_held

    lock = store.lock_study(name)
    if not is_held(lock.path):
        raise ConfigError(f"nobody drives study '{name}'", choices=[s for s in store.studies() if s != name])
    owner = read_json(lock.path, dict) or {}
    if owner.get("host") != socket.gethostname() or not isinstance(owner.get("pid"), int):
        raise FarError(f"study '{name}' is driven by {lock.owner()}: cancel it there")
    os.kill(owner["pid"], signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while is_held(lock.path):
        if time.monotonic() > deadline:
            raise FarError(f"study '{name}' is still driven by {lock.owner()} after {timeout:.0f} s")
        time.sleep(0.2)
    print(f"study '{name}' has stopped; `farlab resume {name}` goes on with it")
