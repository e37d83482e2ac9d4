"""Which trial is which run in MLflow: found again by its tags, or made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from far.store.paths import TrialPaths
from far.store.records import read_spec
from orchestrator.tracking.tracked import Sweep, TrackedTrial

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT, STORE = "mlflow.parentRunId", "farlab.store"
IDENTITY = ("farlab.kind", "farlab.key", "farlab.profile", STORE)
"""Tags by which a run is found again within the study's experiment, whatever its row is called now."""


def experiment_of(client: MlflowClient, uri: str, sweep: Sweep) -> str:
    """Return the study's experiment, made now if there is none."""
    found = client.get_experiment_by_name(sweep.study)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    # A local data base would put artifacts into the current directory; a server has its own place for them.
    local = uri.startswith("sqlite:")
    place = (sweep.artifacts / sweep.study).as_uri() if local else None
    made = client.create_experiment(sweep.study, artifact_location=place)
    client.set_experiment_tag(made, "mlflow.experimentKind", "custom_model_development")  # which view the UI opens
    return str(made)


def find_or_create(
    client: MlflowClient, experiment: str, parent: str, sweep: Sweep, trial: TrackedTrial
) -> dict[str, Any]:
    """Return what is to be remembered of a trial's run; the run is made now if there is none."""
    from mlflow.entities import Param

    tags = {
        PARENT: parent,
        "farlab.kind": "trial",
        "farlab.key": trial.key,
        "farlab.row": trial.row,
        "farlab.seed": str(trial.seed),
        "farlab.profile": sweep.profile,
        **sweep.tags,
    }
    run_id = run_with(client, experiment, tags, f"{trial.row} seed {trial.seed}")
    if "row" not in client.get_run(run_id).data.params:
        spec = read_spec(TrialPaths(trial.directory))
        values = {"row": trial.row, "seed": trial.seed, **_flat(spec.get("config") or {})}
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in values.items()])
    logged = client.get_metric_history(run_id, "train_loss")
    return {"run_id": run_id, "epochs": len({metric.step for metric in logged}), "status": None}


def run_with(client: MlflowClient, experiment: str, tags: dict[str, str], name: str) -> str:
    """Return the run with the same identifying tags, created if there is none."""
    clean = {key: value.replace("'", "") for key, value in tags.items()}
    query = " and ".join(f"tags.`{key}` = '{clean[key]}'" for key in IDENTITY if key in clean)
    found = client.search_runs([experiment], query, max_results=1)
    if not found:
        return str(client.create_run(experiment, tags=clean, run_name=name).info.run_id)
    run_id = str(found[0].info.run_id)
    client.update_run(run_id, status="RUNNING")
    for key, value in clean.items():
        if found[0].data.tags.get(key) != value:  # e.g. under another parent, or its row has another name now
            client.set_tag(run_id, key, value)
    return run_id


def exists(client: MlflowClient, run_id: str) -> bool:
    """Return whether a run is there and not deleted."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except Exception as error:
        if is_gone(error):
            return False
        raise


def is_gone(error: Exception) -> bool:
    """Return whether MLflow says that a run is deleted or was never there, rather than that it cannot answer."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and (
        error.error_code == "RESOURCE_DOES_NOT_EXIST" or "must be in the 'active' state" in str(error)
    )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and key != "attention":
            flat |= _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" != "seed":
            flat[f"{prefix}{key}"] = value
    return flat
