"""What of a trial goes into its run: its values in as few requests as MLflow allows, and in the end its files."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.errors import FarError
from far.parquet import read_table
from far.redaction import redacted
from far.store.paths import TrialPaths
from far.store.records import Result, Spec
from orchestrator.tracking.contents import Point, data_set
from orchestrator.tracking.database import local_path
from orchestrator.tracking.runs import is_gone
from orchestrator.tracking.tracked import TrackedTrial

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH, SMALL_BATCH = 1000, 100
"""MLflow's limits on one ``log_batch``: of everything together, and of parameters and of tags."""
PREDICTIONS, VIDEOS = "farlab.predictions", "videos.parquet"
"""Tag of a run whose predictions stayed in the store: where; and the file that it has in their place."""


def log_values(
    client: MlflowClient,
    run_id: str,
    points: Sequence[Point] = (),
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Send values; what was sent before, and is sent again, is there once."""
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(name, value) for name, value in (parameters or {}).items()]
    metrics = [Metric(*point) for point in points]
    marks = [RunTag(name, value) for name, value in (tags or {}).items()]
    while params or metrics or marks:
        some, few = params[:SMALL_BATCH], marks[:SMALL_BATCH]
        many = metrics[: BATCH - len(some) - len(few)]
        client.log_batch(run_id, metrics=many, params=some, tags=few)
        params, metrics, marks = params[len(some) :], metrics[len(many) :], marks[len(few) :]


def log_data_set(client: MlflowClient, run_id: str, spec: Spec, result: Result | None) -> bool:
    """Send the data set of a trial; return whether enough is known of it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = data_set(spec, result)
    if data is None:
        return False
    whole = Dataset(name=data.name, digest=data.digest, source_type="local", source=data.source, profile=data.profile)
    client.log_inputs(run_id, datasets=[DatasetInput(whole, [InputTag("mlflow.data.context", "training")])])
    return True


def send_files(
    client: MlflowClient,
    trial: TrackedTrial,
    known: dict[str, Any],
    artifact_uri: str,
    result: Result,
    on_step: Callable[[], None],
) -> None:
    """Upload a trial's files; what cannot be uploaded is noted, since its numbers have arrived all the same."""
    paths = TrialPaths(trial.directory)
    known.pop("unsent", None)
    try:
        place = _place(artifact_uri, trial.directory.parent)
        for file in (paths.result, paths.trial, paths.metrics):
            if file.exists():
                _send(client, known["run_id"], file, place)
                on_step()
        if paths.predictions.exists():
            _send_predictions(client, known["run_id"], paths, place, result)
            on_step()
    except Exception as error:
        if is_gone(error):
            raise
        known["unsent"] = f"its files cannot be uploaded: {said(error)}"


def _send(client: MlflowClient, run_id: str, file: Path, place: Path | None) -> None:
    if place is None:
        client.log_artifact(run_id, str(file))
        return
    place.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place / file.name)


def _send_predictions(client: MlflowClient, run_id: str, paths: TrialPaths, place: Path | None, result: Result) -> None:
    """Link the scores of all videos, which are large and the same in every table.

    Where they cannot be linked they stay in the store and the run says where; it gets the list of the videos. They are
    sent only if a table needs them: of results of earlier versions, which do not say which videos were right.
    """
    if place is not None:
        link = place / paths.predictions.name
        with contextlib.suppress(OSError):  # on another file system
            link.unlink(missing_ok=True)
            os.link(paths.predictions, link)
            return
    if result.get("answers") is None:
        _send(client, run_id, paths.predictions, place)
        return
    client.set_tag(run_id, PREDICTIONS, str(paths.predictions.absolute()))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / VIDEOS
        write_videos(paths.predictions, file)
        _send(client, run_id, file, place)


def write_videos(predictions: Path, file: Path) -> None:
    """Write ids and labels of the videos that were answered, without their scores."""
    import pyarrow.parquet as pq

    table = read_table(predictions, ["id", "label"])
    pq.write_table(
        table.group_by("id", use_threads=False)
        .aggregate([("label", "first")])
        .select(["id", "label_first"])
        .rename_columns(["id", "label"]),
        file,
        compression="zstd",
    )


def has_files(artifact_uri: str) -> bool:
    """Return whether a run's files are where they are to be, as far as that can be seen from here."""
    place = local_path(artifact_uri)
    return place is None or (place / "result.json").exists()


def _place(artifact_uri: str, trials: Path) -> Path | None:
    """Return the folder of a run's artifacts, None if it is none of this machine's.

    Raises:
        FarError: it is among the trials themselves, which only a server that lies can name.
    """
    place = local_path(artifact_uri)
    if place is not None and place.resolve().is_relative_to(trials.resolve()):
        raise FarError(f"the tracking server wants them in {place.resolve()}, where trials themselves are kept")
    return place


def said(error: Exception) -> str:
    """Return an error in one line, without credentials."""
    return f"{type(error).__name__}: {' '.join(redacted(str(error)).split())[:200]}"
