"""``farlab cancel``: a running sweep, or some of its trials, stops cleanly."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from far.errors import ConfigError, FarError
from far.store.atomic import read_json
from orchestrator.cli.completion import offer_submitted
from orchestrator.cli.inputs import mode, modes
from orchestrator.cli.options import IdsOption, ProfileOption, RowsOption
from orchestrator.monitor.status import chosen, statuses
from orchestrator.store.store import is_held
from orchestrator.study import submitted_name
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from orchestrator.store.store import Store


@modes(
    mode("with --row or --id", ("studies", "row", "id_", "profile"), when=("row", "id_")),
    mode("without --row or --id: the whole sweep is stopped", ("studies", "timeout")),
)
def cancel(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="Names of studies.", autocompletion=offer_submitted)
    ],
    row: RowsOption = None,
    id_: IdsOption = None,
    profile: ProfileOption = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for a clean stop of the whole sweep.")] = 120.0,
) -> None:
    """Stop a running sweep cleanly, or only some of its trials while the others go on.

    Checkpoints are kept: a later sweep goes on from them.

    Examples:
        farlab cancel head_ratio
        farlab cancel head_ratio --row 1:1
    """
    store = open_workspace().store
    names = [submitted_name(text, store.studies(), store.root) for text in studies]
    if row or id_:
        _cancel_trials(store, names, profile, row or [], id_ or [])
        return
    for name in names:
        _cancel(store, name, timeout)


def _cancel_trials(store: Store, studies: list[str], profile: str | None, rows: list[str], ids: list[str]) -> None:
    """Ask those who run these trials to stop; those that wait are left out when their turn comes."""
    found = chosen(statuses(store, studies, profile), rows=rows, ids=ids)
    trials = {
        t.key: t for study in found for t in study.trials if t.state in ("running", "queued", "missing", "interrupted")
    }
    for key, trial in trials.items():
        paths = store.paths(key)
        if paths.directory.is_dir():  # nothing runs what was never submitted
            paths.cancel.touch()
            print(f"{trial.row}, seed {trial.seed} ({key}) is asked to stop")
    if not trials:
        print("nothing to cancel", file=sys.stderr)


def _cancel(store: Store, name: str, timeout: float) -> None:
    lock = store.lock_study(name)
    if not is_held(lock.path):
        raise ConfigError(f"study '{name}' is not running", choices=[s for s in store.studies() if s != name])
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
