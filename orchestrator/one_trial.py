"""One trial in this process, or in those of a launcher such as ``torchrun``: the local executor with one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.config import TrialConfig, parse_overrides
from far.config.identity import identity, trial_key
from far.config.layers import refuse_without_effect, resolved
from far.distributed import Launched
from far.errors import CancelledError, ConfigError, FarError
from far.store.atomic import is_there
from far.store.environment import code_version
from far.text import rounded
from orchestrator.executors.base import Job, ListQueue, StopRequest
from orchestrator.executors.failure import write_failure
from orchestrator.executors.local import LocalExecutor
from orchestrator.executors.trial_runner import Watcher
from orchestrator.plan.jobs import write_submission
from orchestrator.plan.starts import begun, start_of
from orchestrator.store.record import Record, is_record, read_record
from orchestrator.study.load import no_seed
from orchestrator.study.profiles import find_profile, profile_directories
from orchestrator.workspace.plugins import load_trial_plugins, load_workspace_plugins
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import Workspace

if TYPE_CHECKING:
    from far.train.trial import TrialRun

Say = Callable[[str], None]


@dataclass(frozen=True)
class Described:
    """A trial that somebody has described.

    Attributes:
        config: its resolved configuration.
        profile: the profile's name.
        record: of the trial that is to be repeated, if it is one.
        notes: what was adapted.
    """

    config: TrialConfig
    profile: str
    record: Record | None = None
    notes: tuple[str, ...] = ()


def describe(config: str, overrides: Sequence[str], seed: int) -> Described:
    """Return the trial that a word and overrides stand for.

    Args:
        config: a profile's name or file, or the ``trial.json`` of a trial to repeat, which has its own seed.
        overrides: ``dotted.key=value``.
        seed: of initialisation, order and augmentation.

    Raises:
        ConfigError: there is no such thing, or it is invalid.
    """
    path = Path(config)
    typed = parse_overrides(overrides)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:  # from Python: the command line checks its own
        raise ConfigError(f"must be a whole number from 0, not {seed!r}", key="seed")
    no_seed(*typed, instead="--seed")
    if is_record(config):
        record = read_record(path)
        load_trial_plugins(record.path.parent)
        made = resolved([record.layer, *typed])
        refuse_without_effect([(made.config, typed)])
        return Described(made.config.model_copy(update={"seed": record.seed}), record.profile, record, made.notes)
    settings = load_settings()
    load_workspace_plugins(settings)
    directories = profile_directories(settings.workspace)
    is_file = path.suffix in (".yaml", ".yml") or len(path.parts) > 1
    if is_file and not (is_there(config) and path.is_file()):
        raise ConfigError("no such file", where=config)
    if is_file:
        profile = find_profile(path.stem, [path.parent, *directories], source=path)
    else:
        profile = find_profile(config, directories)
    no_seed(*profile.layers, instead="--seed")
    made = resolved([*profile.layers, *typed])
    refuse_without_effect([(made.config, typed)])
    return Described(made.config.model_copy(update={"seed": seed}), profile.name, None, made.notes)


def train_described(described: Described, workspace: Workspace, launched: Launched, say: Say) -> Mapping[str, Any]:
    """Train a trial to its end, or go on with it; one that is finished stays as it is.

    Raises:
        ConfigError: it cannot be trained on the data, or start from the weights, that are here.
        FarError: see ``train_here``.
    """
    config, store = described.config, workspace.store
    whole = identity(
        config,
        data_hash=workspace.data_hash(config.data),
        weights_hash=workspace.weights_hash(config.init),
    )
    key = trial_key(whole)
    if store.state(key) != "finished":  # what it cannot train on, or start from, is said before anything is written
        if problems := workspace.data_problems(config):
            raise ConfigError("; ".join(problems))
        if not begun(store, key):
            start_of(config, workspace)
    if described.record is not None:
        described.record.check(key, whole)
        say(described.record.said(code_version()))
    if store.state(key) == "finished":
        say(f"trial {key} is finished already")
        return store.result(key) or {}
    for note in described.notes:
        say(f"note: {note}")
    return train_here(config, whole, described.profile, workspace, launched, say)


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
