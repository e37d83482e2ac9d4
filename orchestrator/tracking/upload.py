"""Upload of a trial to its run: epochs as they are finished, then its figures and files."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from far.errors import FarError
from far.redaction import redacted
from far.store.paths import TrialPaths
from far.store.records import Result, read_epochs
from orchestrator.tracking.runs import is_gone
from orchestrator.tracking.tracked import TrackedTrial

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1000
"""MLflow's limit on the metrics of one ``log_batch``."""
STATUS = {"finished": "FINISHED", "partial": "KILLED"}
"""MLflow's status by result state; any other state is FAILED."""


def send_epochs(client: MlflowClient, known: dict[str, Any], paths: TrialPaths) -> None:
    """Send the finished epochs that the run does not have."""
    from mlflow.entities import Metric

    records = read_epochs(paths)
    metrics = [
        Metric(name, value, _milliseconds(record.get("time")), record["epoch"] + 1)
        for record in records[known["epochs"] :]
        for name, value in record.items()
        if name not in ("epoch", "time") and isinstance(value, int | float)
    ]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(known["run_id"], metrics=metrics[start : start + BATCH])
    known["epochs"] = max(known["epochs"], len(records))


def close_run(
    client: MlflowClient,
    trial: TrackedTrial,
    known: dict[str, Any],
    result: Result,
    on_step: Callable[[], None],
) -> None:
    """Send what came of a trial, and end its run."""
    from mlflow.entities import Metric, RunTag

    now, run_id = _milliseconds(result.get("finished_at")), known["run_id"]
    final: dict[str, Any] = {
        **(result["metrics"] or {}),
        **{name: result.get(name) for name in ("flops", "params", "seconds")},
    }
    final |= {name: result.get(name) for name in ("evaluated", "expected", "peak_memory_bytes")}
    client.log_batch(
        run_id,
        metrics=[Metric(f"final_{name}", float(value), now, 0) for name, value in final.items() if value is not None],
        tags=[
            RunTag("farlab.state", result["state"]),
            RunTag("farlab.attempts", str(result.get("starts") or 1)),
            RunTag("farlab.code", str((result.get("code") or {}).get("git"))),
            RunTag("farlab.error", redacted(str((result.get("error") or {}).get("message", "")))[:500]),
        ],
    )
    send_files(client, trial, known, on_step)
    status = STATUS.get(result["state"], "FAILED")
    started = client.get_run(run_id).info.start_time or now
    client.set_terminated(run_id, status, end_time=max(now, started))  # clocks go back at times
    known["status"] = status


def send_files(client: MlflowClient, trial: TrackedTrial, known: dict[str, Any], on_step: Callable[[], None]) -> None:
    """Upload a trial's files; what cannot be uploaded is noted, since its numbers have arrived all the same."""
    paths = TrialPaths(trial.directory)
    known.pop("unsent", None)
    try:
        _check_place(client.get_run(known["run_id"]).info.artifact_uri, trial.directory.parent)
        for file in (paths.result, paths.trial, paths.metrics, paths.predictions):
            if file.exists():
                client.log_artifact(known["run_id"], str(file))
                on_step()
    except Exception as error:
        if is_gone(error):
            raise
        known["unsent"] = f"its files cannot be uploaded: {said(error)}"


def _check_place(artifact_uri: str, trials: Path) -> None:
    """Refuse artifacts a place among the trials themselves, which only a server that lies can name.

    Raises:
        FarError: this is such a place.
    """
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urlsplit(artifact_uri).scheme not in ("", "file"):
        return
    place = Path(local_file_uri_to_path(artifact_uri)).resolve()
    if place.is_relative_to(trials.resolve()):
        raise FarError(f"the tracking server wants them in {place}, where trials themselves are kept")


def said(error: Exception) -> str:
    """Return an error in one line, without credentials."""
    return f"{type(error).__name__}: {' '.join(redacted(str(error)).split())[:200]}"


def _milliseconds(text: str | None) -> int:
    return int(1000 * (datetime.fromisoformat(text).timestamp() if text else time.time()))
