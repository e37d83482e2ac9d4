"""Which trial is which run in MLflow: found again by its tags, or made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.tracking.database import STORE, Database, artifact_root
from orchestrator.tracking.tracked import Sweep

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"
IDENTITY = ("farlab.kind", "farlab.key", "farlab.profile", STORE)
"""Tags by which a run is found again within the study's experiment, whatever its row is called now."""
PAGE = 1000
"""Runs of one answer of a search."""


def experiment_of(client: MlflowClient, database: Database | None, sweep: Sweep) -> str:
    """Return the study's experiment, made now if there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(sweep.study)
    if found is None:
        # Without a server, artifacts would lie in the current directory; a server has its own place for them.
        place = artifact_root(sweep.artifacts, sweep.study) if database is not None else None
        tags = {
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": f"{sweep.title}\n\nOne run per sweep, in it one per trial.".strip(),
            "mlflow.experiment.primaryMetric.name": "test/top1",
            "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
            "farlab.study": sweep.study,
        }
        try:
            return str(client.create_experiment(sweep.study, artifact_location=place, tags=tags))
        except MlflowException:  # another machine was faster
            found = client.get_experiment_by_name(sweep.study)
            if found is None:
                raise
    experiment = str(found.experiment_id)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(experiment)
    if "farlab.study" not in found.tags:
        client.set_experiment_tag(experiment, "farlab.study", sweep.study)
    if database is not None:
        database.follow(experiment, sweep)
    return experiment


def runs_of(client: MlflowClient, experiment: str, sweep: Sweep, *, deleted: bool = False) -> Iterator[Any]:
    """Yield the runs of the store's at the sweep's profile, the oldest first.

    Args:
        client: of the tracking store.
        experiment: the study's.
        sweep: whose runs.
        deleted: whether those that were deleted and are still there are among them.
    """
    from mlflow.entities import ViewType

    query = f"tags.`farlab.profile` = '{sweep.profile}'"
    if STORE in sweep.tags:  # what other stores logged is theirs
        query += f" and tags.`{STORE}` = '{sweep.tags[STORE]}'"
    view, token = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY, None
    while token != "":
        page = client.search_runs(
            [experiment], query, view, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token or ""


def parent_run(client: MlflowClient, experiment: str, tags: dict[str, str], name: str, start: int | None) -> str:
    """Return the sweep's own run, made now if there is none."""
    clean = clean_tags(tags)
    query = " and ".join(f"tags.`{key}` = '{clean[key]}'" for key in IDENTITY if key in clean)
    found = client.search_runs([experiment], query, max_results=1)
    if not found:
        return str(client.create_run(experiment, start_time=start, tags=clean, run_name=name).info.run_id)
    run_id = str(found[0].info.run_id)
    update_tags(client, found[0], clean)
    return run_id


def update_tags(client: MlflowClient, run: Any, tags: dict[str, str]) -> None:
    """Set the tags that a run does not have, or has otherwise."""
    for key, value in tags.items():
        if run.data.tags.get(key) != value:  # e.g. under another parent, or its row has another name now
            client.set_tag(run.info.run_id, key, value)


def clean_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return tags as a search can name them."""
    return {key: value if key.startswith("mlflow.") else value.replace("'", "") for key, value in tags.items()}


def remove(client: MlflowClient, database: Database | None, uri: str, run: Any) -> None:
    """Delete a run and its artifacts: for good in a data base, on a server as far as it lets."""
    if database is not None:
        database.erase(run.info.run_id, run.info.artifact_uri)
        return
    if urlsplit(run.info.artifact_uri).scheme == "mlflow-artifacts":  # nothing that the server has only named
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with contextlib.suppress(Exception):  # a server may keep them all the same
            get_artifact_repository(run.info.artifact_uri, tracking_uri=uri).delete_artifacts()
    client.delete_run(run.info.run_id)


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
