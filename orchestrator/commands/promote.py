"""``farlab promote``: a trial's network as a registered model of MLflow's."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from far.errors import ConfigError
from far.redaction import redacted
from orchestrator.cli.options import TrackingOption, note_environment
from orchestrator.cli.trials import TrialArgument, find_trial
from orchestrator.store.store import is_plain_name
from orchestrator.tracking.base import TRACKERS
from orchestrator.tracking.promotion import promote as register
from orchestrator.workspace.settings import checked_uri
from orchestrator.workspace.workspace import open_workspace

_ALIAS, _RESERVED = re.compile(r"[\w-]+", re.ASCII), re.compile(r"latest|v\d+", re.IGNORECASE)
"""Of a version of a registered model, as MLflow has it."""


def promote(
    trial: TrialArgument,
    name: Annotated[
        str | None, typer.Option(help="Of the registered model; default: the study's.", show_default=False)
    ] = None,
    alias: Annotated[
        str | None, typer.Option(help="Name for this version, e.g. best, taken from the one that had it.")
    ] = None,
    tracking_uri: TrackingOption = None,
) -> None:
    """Register a finished trial's network in MLflow: with signature, input example, names of classes and weights.

    Examples:
        farlab promote head_ratio/1:1/0 --alias best
        python -c "import mlflow; print(mlflow.pyfunc.load_model('models:/head_ratio@best').predict(['a.mp4']))"
    """
    if name is not None and (not is_plain_name(name) or ":" in name):
        raise ConfigError(f"'{name}' cannot be the name of a registered model: no / and no :", key="--name")
    if alias is not None and (not _ALIAS.fullmatch(alias) or _RESERVED.fullmatch(alias)):
        raise ConfigError(
            f"'{alias}' cannot be an alias: letters, digits, - and _; not 'latest', not 'v1'", key="--alias"
        )
    workspace = open_workspace()
    uri = workspace.settings.tracking_uri
    if tracking_uri is None:
        note_environment(workspace.settings, "MLFLOW_TRACKING_URI")
    else:
        uri = checked_uri(tracking_uri, "--tracking-uri")
    if uri.partition("://")[0] in TRACKERS:
        raise ConfigError(f"{redacted(uri)} is not MLflow's: it has no registry of models", key="tracking_uri")
    paths = find_trial(trial, workspace.store)
    state = workspace.store.state(paths.key) if paths.directory.parent == workspace.store.trials.resolve() else None
    if state != "finished":
        what = f"is {state}" if state else "is not in the workspace's store"
        raise ConfigError(f"trial {paths.key} {what}: only a finished trial is registered", where=str(paths.directory))
    from far.trained.classifier import Classifier

    classifier = Classifier.load(paths.directory, data_root=workspace.settings.data_root)
    done = register(classifier, paths.key, uri=uri, store=workspace.store.identity(), name=name, alias=alias)
    print(f"registered {done.name}, version {done.version}, in {redacted(uri)}")
    print(f"load it with mlflow.pyfunc.load_model('{done.uri}')")
