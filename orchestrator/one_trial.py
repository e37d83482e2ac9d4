"""One trial in this process, or in those of a launcher such as ``torchrun``: the local executor with one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from far.config import TrialConfig
from far.config.identity import trial_key
from far.distributed import Launched
from far.errors import CancelledError, FarError
from far.text import rounded
from orchestrator.executors.base import Job, ListQueue, StopRequest
from orchestrator.executors.failure import write_failure
from orchestrator.executors.local import LocalExecutor
from orchestrator.executors.trial_runner import Watcher
from orchestrator.plan.jobs import write_submission
from orchestrator.workspace.workspace import Workspace

if TYPE_CHECKING:
    from far.train.trial import TrialRun

Say = Callable[[str], None]


class _Narrator(Watcher):
    """Says what happens to a trial, a line each."""

    def __init__(self, config: TrialConfig, say: Say) -> None:
        self.config, self.say = config, say

    def built(self, run: TrialRun) -> None:
        """Say what of the initial weights was loaded."""
        if run.load_report is not None:
            self.say(f"initial weights {self.config.init.weights}: {run.load_report}")

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Say how an epoch went."""
        skipped = record.get("skipped_steps")
        self.say(
            f"epoch {record['epoch'] + 1}/{self.config.recipe.epochs}  loss {record['train_loss']:.3f}  "
            f"val top-1 {rounded(record['val_top1'], 1)} %  {record['seconds']:.1f} s"
            + (f"  {skipped} steps skipped: gradients not finite" if skipped else "")
        )


def train_here(
    config: TrialConfig,
    identity: dict[str, Any],
    profile: str,
    workspace: Workspace,
    launched: Launched,
    say: Say,
) -> Mapping[str, Any]:
    """Train a trial to its end, or go on with it; return its result.

    Args:
        config: the resolved configuration.
        identity: of the trial.
        profile: the profile's name.
        workspace: where it is kept.
        launched: this process's place among those that train it.
        say: called with a line whenever something happens.

    Raises:
        LockedError: another process is training it.
        KeyboardInterrupt: it was asked to stop, and can go on later.
        FarError: what the trial ended by; its result says the same.
    """
    key = trial_key(identity)
    store = workspace.store
    paths = store.paths(key)
    if launched.rank == 0:
        with store.lock_trial(key).acquire():
            write_submission(workspace, key, identity=identity, config=config, profile=profile)
    say(f"trial {key}: {config.recipe.epochs} epochs, files in {paths.directory}")
    job = Job(
        directory=paths.directory.absolute(),
        data_root=workspace.settings.data_root,
        devices=launched.size,
        cpus=config.run.cpus,
        remote_store=workspace.settings.remote_store,
    )
    executor = LocalExecutor(launched, _Narrator(config, say))
    try:
        executor.run(ListQueue([job]), StopRequest())
    except FarError as error:
        if launched.rank:  # the launcher ends the others, whichever process met it; a result that is there stays
            write_failure(job.directory, error)
        raise
    result = store.result(key)
    if result is None:
        raise CancelledError(f"trial {key} was cancelled")
    if result["state"] != "finished":
        raise _error_of(result, f"{paths.log}")
    return result


def _error_of(result: Mapping[str, Any], log: str) -> FarError:
    """Return what a trial ended by, as the error that it was."""
    said = result.get("error") or {}
    kinds = {kind.kind: kind for kind in _descendants(FarError)}
    kind = kinds.get(str(said.get("kind")), FarError)
    more = f"; {log} has the details" if kind is FarError else ""
    return kind(f"{said.get('message') or 'the trial failed'}{more}")


def _descendants(kind: type[FarError]) -> list[type[FarError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _descendants(child))]
