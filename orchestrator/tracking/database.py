"""MLflow's data base where it is used without a server: what MLflow's own interface does not do.

Artifacts have absolute addresses there, fixed when an experiment is made; those of a store that was copied or moved
would still be written to its old place. Runs that are deleted stay, with their artifacts; and a run that is there
can neither be given another start nor another value of a parameter.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from orchestrator.tracking.tracked import Sweep

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
"""In a store, where no tracking URI is set."""
STORE = "farlab.store"
"""Tag of a run: the store whose trial it is."""


def is_database(uri: str) -> bool:
    """Return whether a tracking URI is a data base's, rather than a server's."""
    return urlsplit(uri).scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


def artifact_root(artifacts: Path, study: str) -> str:
    """Return the address of the folder in which the artifacts of a study's runs lie."""
    return (artifacts / study).absolute().as_uri()


def local_path(artifact_uri: str) -> Path | None:
    """Return the folder that an artifact address means, None if it is none of this machine's."""
    parts = urlsplit(artifact_uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else artifact_uri)


def moved(artifact_uri: str | None, artifacts: Path, study: str) -> str | None:
    """Return where artifacts of a study are now that were elsewhere, None if they are where they are to be."""
    root = artifact_root(artifacts, study)
    mark = "/".join(["", *root.split("/")[-2:], ""])
    if not artifact_uri or local_path(artifact_uri) is None or f"{artifact_uri}/".startswith(f"{root}/"):
        return None
    before, found, after = f"{artifact_uri}/".rpartition(mark)
    return f"{root}/{after}".rstrip("/") if found and before else None


def has_moved(uri: str, store: Path) -> bool:
    """Return whether a store's own data base names a place from which the store was moved or copied."""
    path = store / DATABASE
    if uri != f"sqlite:///{path}" or not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("SELECT artifact_location, name FROM experiments").fetchall()
        except sqlite3.Error:
            return False
    return any(moved(place, store / ARTIFACTS, name) is not None for place, name in found)


class Database:
    """The data base of a tracking URI.

    Args:
        uri: such a URI.
    """

    def __init__(self, uri: str) -> None:
        # As `mlflow gc` does: nothing that MLflow documents can erase a run.
        from mlflow.tracking._tracking_service.utils import _get_store

        self._store: Any = _get_store(uri)

    def follow(self, experiment: str, sweep: Sweep) -> None:
        """Let the artifacts of this store's runs and models be where the store is now, if it was moved or copied.

        A place that somebody else chose for the experiment stays.

        Args:
            experiment: its id.
            sweep: whose runs are in it.
        """
        from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
        from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlLoggedModel, SqlRun, SqlTag
        from sqlalchemy import select

        with self._store.engine.begin() as connection:
            its: Any = SqlExperiment.experiment_id == int(experiment)
            _move(connection, SqlExperiment.experiment_id, SqlExperiment.artifact_location, its, sweep)
            ours: Any = select(SqlTag.run_uuid).where(SqlTag.key == STORE, SqlTag.value == sweep.tags.get(STORE, ""))
            runs: Any = (SqlRun.experiment_id == int(experiment)) & SqlRun.run_uuid.in_(ours)
            _move(connection, SqlRun.run_uuid, SqlRun.artifact_uri, runs, sweep)
            models: Any = (SqlLoggedModel.experiment_id == int(experiment)) & SqlLoggedModel.source_run_id.in_(ours)
            _move(connection, SqlLoggedModel.model_id, SqlLoggedModel.artifact_location, models, sweep)
            versions: Any = SqlModelVersion.run_id.in_(ours)
            _move(connection, SqlModelVersion.storage_location, SqlModelVersion.storage_location, versions, sweep)

    def follow_run(self, run_id: str, artifact_uri: str, sweep: Sweep) -> str:
        """Do that for one run, which was made while another store had the experiment's place; return where it is."""
        place = moved(artifact_uri, sweep.artifacts, sweep.study)
        if place is None:
            return artifact_uri
        from mlflow.store.tracking.dbmodels.models import SqlRun
        from sqlalchemy import update

        self._do(update(SqlRun).where(SqlRun.run_uuid == run_id).values(artifact_uri=place))
        return place

    def set_start(self, run_id: str, start: int) -> None:
        """Set when a run began, in milliseconds since 1970."""
        from mlflow.store.tracking.dbmodels.models import SqlRun
        from sqlalchemy import update

        self._do(update(SqlRun).where(SqlRun.run_uuid == run_id).values(start_time=start))

    def set_parameter(self, run_id: str, name: str, value: str) -> None:
        """Change a parameter of a run."""
        from mlflow.store.tracking.dbmodels.models import SqlParam
        from sqlalchemy import update

        self._do(update(SqlParam).where(SqlParam.run_uuid == run_id, SqlParam.key == name).values(value=value))

    def erase(self, run_id: str, artifact_uri: str) -> None:
        """Delete a run for good, and its artifacts, if they are on this machine."""
        place = local_path(artifact_uri)
        if place is not None and place.parent.name == run_id:  # no folder but a run's own
            shutil.rmtree(place.parent, ignore_errors=True)
        self._store._hard_delete_run(run_id)

    def _do(self, statement: Any) -> None:
        with self._store.engine.begin() as connection:
            connection.execute(statement)


def _move(connection: Any, key: Any, column: Any, where: Any, sweep: Sweep) -> None:
    """Write the new addresses of what a condition selects."""
    from sqlalchemy import select, update

    for name, address in connection.execute(select(key, column).where(where)).all():
        place = moved(address, sweep.artifacts, sweep.study)
        if place is not None:
            connection.execute(update(column.class_).where(where, key == name).values({column: place}))
