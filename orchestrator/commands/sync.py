"""``farlab sync``: bring the tracking store up to what the trial directories say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from far.redaction import redacted
from far.store.lock import LockedError
from orchestrator.cli.completion import offer_submitted
from orchestrator.cli.datasets import progress_bar
from orchestrator.cli.options import TrackingOption, note_environment
from orchestrator.study import submitted_name
from orchestrator.tracking.base import make_tracker
from orchestrator.tracking.selection import submitted
from orchestrator.workspace.settings import checked_uri
from orchestrator.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from orchestrator.workspace.workspace import Workspace


def sync(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY...]", help="Names of studies; default: all submitted.", autocompletion=offer_submitted
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Delete the studies' runs first and write all of them again.")
    ] = False,
    tracking_uri: TrackingOption = None,
    timeout: Annotated[float, typer.Option(min=0, help="Give up after this many seconds without a response.")] = 60.0,
) -> int:
    """Bring MLflow up to date: what an outage has held up, runs that a killed sweep left open.

    Examples:
        farlab sync
        farlab sync head_ratio --tracking-uri http://127.0.0.1:5000
    """
    workspace = open_workspace()
    if tracking_uri is not None:
        workspace = workspace.changed(tracking_uri=checked_uri(tracking_uri, "--tracking-uri"))
    store = workspace.store
    known = store.studies()
    names = [submitted_name(text, known, store.root) for text in studies or []]
    note_environment(workspace.settings, "MLFLOW_TRACKING_URI")
    codes = [_sync(workspace, name, rebuild, timeout) for name in names or known]
    return max(codes, default=0)


def _sync(workspace: Workspace, name: str, rebuild: bool, timeout: float) -> int:
    store, uri = workspace.store, workspace.settings.tracking_uri
    try:
        lock = store.lock_study(name).acquire()
    except LockedError as error:
        print(f"{error}: its own sweep keeps MLflow up to date", file=sys.stderr)
        return 0
    with lock:
        sweeps = submitted(store, name, workspace.settings)
        mirror = make_tracker(uri, sweeps, rebuild=rebuild)
        with progress_bar(f"study '{name}'") as progress:
            is_complete = mirror.close(timeout=timeout, on_wait=progress, on_note=_say)
        if not is_complete:
            troubles = mirror.troubles
            of_all = mirror.problem is not None or not troubles
            reason = (
                mirror.reason if of_all else f"it has not taken all of {len(troubles)} trials, which are tried again:"
            )
            print(f"study '{name}': MLflow is not up to date: {reason}", file=sys.stderr)
            for trouble in troubles:
                print(f"  {trouble}", file=sys.stderr)
            return 1
    trials = sum(trial.directory.is_dir() for sweep in sweeps for trial in sweep.trials)
    print(f"study '{name}': {trials} trials in {redacted(uri)}")
    return 0


def _say(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
