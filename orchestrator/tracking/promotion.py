"""A trial's network as a registered model of MLflow's, which loads and classifies without this store."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far import __version__
from far.errors import ConfigError
from far.redaction import redacted
from far.text import rounded
from orchestrator.tracking.mirror import connect

if TYPE_CHECKING:
    from far.trained.classifier import Classifier

LOADER = "far.trained.portable"
"""Module whose ``_load_pyfunc`` MLflow calls."""


@dataclass(frozen=True)
class Promoted:
    """A version of a registered model."""

    name: str
    version: str
    alias: str | None

    @property
    def uri(self) -> str:
        """The address by which ``mlflow.pyfunc.load_model`` finds it."""
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


def find_run(client: Any, key: str, store: str) -> Any:
    """Return the run of a trial.

    Raises:
        ConfigError: MLflow has none.
    """
    experiments = [each.experiment_id for each in client.search_experiments()]
    query = f"tags.`farlab.kind` = 'trial' and tags.`farlab.key` = '{key}' and tags.`farlab.store` = '{store}'"
    found = client.search_runs(experiments, query, max_results=1) if experiments else []
    if not found:
        raise ConfigError(f"MLflow has no run of trial {key}: `farlab sync` makes it, if the trial is of a study")
    return found[0]


def promote(
    classifier: Classifier, key: str, *, uri: str, store: str, name: str | None = None, alias: str | None = None
) -> Promoted:
    """Register a trial's network.

    Args:
        classifier: the network with the names of its classes.
        key: the trial's.
        uri: of the tracking store, which is the model registry, too.
        store: the identity of the trial's store.
        name: of the registered model; default: the study's.
        alias: given to the new version, and taken from the one that had it.

    Raises:
        ConfigError: MLflow has no run of the trial, or does not take the name or the alias.
    """
    import mlflow
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.exceptions import MlflowException

    client = connect(uri)
    mlflow.set_tracking_uri(uri)  # MLflow asks it where a model's version comes from, whatever the client's is
    run = find_run(client, key, store)
    tags, run_id = run.data.tags, run.info.run_id
    name = name or tags["farlab.study"]
    facts = {each: tags[each] for each in ("farlab.key", "farlab.row", "farlab.seed", "farlab.study") if each in tags}
    if (top1 := run.data.metrics.get("test/top1")) is not None:
        facts["test/top1"] = str(rounded(top1, 2))
    try:
        _registered(client, name)
        model = client.create_logged_model(run.info.experiment_id, name="model", source_run_id=run_id, tags=facts)
        try:
            with tempfile.TemporaryDirectory(prefix="farlab-model-") as folder:
                _write(classifier, Path(folder), model, run_id, facts)
                client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            version = client.create_model_version(
                name,
                source=f"models:/{model.model_id}",
                run_id=run_id,
                tags=facts,
                description=tags.get("mlflow.note.content"),
                model_id=model.model_id,
            )
        except BaseException:
            client.delete_logged_model(model.model_id)
            raise
        if alias is not None:
            client.set_registered_model_alias(name, alias, version.version)
    except MlflowException as error:
        raise ConfigError(f"MLflow does not register the model '{name}': {redacted(str(error))}") from None
    return Promoted(name, str(version.version), alias)


def _registered(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _write(classifier: Classifier, folder: Path, model: Any, run_id: str, facts: dict[str, str]) -> None:
    """Write what MLflow keeps into ``model`` of a folder: the network, and what goes in and comes out of it."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    from far.trained.portable import PROBLEM, VIDEO, save_portable

    columns = {"rank": "long", "label": "long", "class": "string", "score": "double", PROBLEM: "string"}
    signature = ModelSignature(
        Schema([ColSpec("string", VIDEO)]),
        Schema([ColSpec("string", VIDEO), *(ColSpec(kind, column) for column, kind in columns.items())]),
        ParamSchema([ParamSpec("top", "long", 1)]),
    )
    save_portable(classifier, folder / "network")
    mlflow.pyfunc.save_model(
        path=str(folder / "model"),
        loader_module=LOADER,
        data_path=str(folder / "network"),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            model_uuid=model.model_id,
            run_id=run_id,
            model_id=model.model_id,
            metadata=dict(facts),
        ),
        signature=signature,
        input_example=pd.DataFrame({VIDEO: ["clip.mp4"]}),
        pip_requirements=[f"farlab=={__version__}"],
    )
