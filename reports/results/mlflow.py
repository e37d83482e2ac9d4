"""The same results from an MLflow server to which one or several machines logged their sweeps."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from far.errors import FarError
from far.redaction import redacted
from far.store.paths import TrialPaths
from far.store.records import STATES, read_result, read_spec
from orchestrator.tracking.upload import VIDEOS
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import STATE_OF, TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROWS_TOGETHER = " = "
"""Joins the names of rows that are one trial in the mirror's tag ``farlab.row``."""
STATE_OF_RUN = {"RUNNING": State.RUNNING, "SCHEDULED": State.RUNNING, "FAILED": State.FAILED, "KILLED": State.MISSING}
ENDED = ("FINISHED", "FAILED")
"""States of a run that holds a trial's files."""
LOCAL_UI = "http://127.0.0.1:5000"
"""Where ``farlab ui`` listens unless told otherwise."""
PAGE = 1000
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class TrackingError(FarError):
    """The tracking server cannot be read."""

    kind = "tracking"


def read_runs(results: Results, uri: str, cache: Path) -> Results:
    """Replace what a store holds by what a tracking server holds.

    A run is a trial's if it carries its key; else if it has its row, its seed and all its settings but other data,
    as where another machine has another copy: beside the others it is then shown as not comparable, not left out.

    Args:
        results: the plan, as ``collect`` returns it.
        uri: of the tracking server or data base.
        cache: folder for the runs' files; a finished run is fetched once.

    Raises:
        TrackingError: the server cannot be reached.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow import MlflowClient

    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(results.study)
        experiment = found.experiment_id if found else None
        runs = _runs(client, experiment, results.profile) if experiment else []
    except Exception as error:  # an answer that is none makes MLflow's client raise whatever it met
        why = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise TrackingError(f"the tracking server {uri} cannot be read: {why}") from None
    uri = redacted(uri)
    cache /= _folder(uri)  # what one server says is not to be taken for what another says
    # Two stores may have run the same trial: what has finished counts.
    by_key = {run.data.tags.get("farlab.key"): run for run in sorted(runs, key=lambda r: r.info.status == "FINISHED")}
    by_place: dict[tuple[str, str | None], list[Any]] = {}
    for run in runs:
        tag = run.data.tags.get("farlab.row", "")
        for name in {tag, *tag.split(ROWS_TOGETHER)}:
            by_place.setdefault((name, run.data.tags.get("farlab.seed")), []).append(run)
    collected: dict[str, list[TrialRecord]] = {}
    for row, trials in results.collected.items():
        collected[row] = []
        for trial in trials:
            record = _record(client, trial, by_key.get(trial.key), uri, cache)
            if record.state is State.MISSING:
                for other in by_place.get((row.replace("'", ""), str(trial.seed)), ()):
                    candidate = _record(client, trial, other, uri, cache)
                    assert candidate.directory is not None
                    spec = read_spec(TrialPaths(candidate.directory)) if candidate.result else {}
                    if _but_data(spec.get("identity")) == _but_data(trial.identity):
                        record = candidate
            collected[row].append(record)
    problems = () if experiment else (f"the tracking server {uri} has no experiment '{results.study}'",)
    return replace(
        results, collected=collected, problems=problems, store=cache, tracking_uri=uri, submitted=bool(experiment)
    )


def run_address(uri: str, experiment: str, run: str) -> str:
    """Return the address of a run's page, without the credentials that the tracking URI may hold."""
    base = redacted(uri).rstrip("/") if uri.startswith(("http://", "https://")) else LOCAL_UI
    return f"{base}/#/experiments/{quote(experiment, safe='')}/runs/{quote(run, safe='')}"


def _runs(client: MlflowClient, experiment: str, profile: str) -> Sequence[Any]:
    """Return all runs of trials, oldest first, so that of two runs of one trial the newer counts."""
    query = f"tags.`farlab.kind` = 'trial' and tags.`farlab.profile` = '{profile}'"
    runs: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment], query, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs


def _but_data(identity: Any) -> Any:
    """An identity without the content of its data, as JSON has it (where a tuple is a list)."""
    if not isinstance(identity, Mapping):
        return None
    identity = json.loads(json.dumps(identity))
    data = {key: value for key, value in (identity.get("data") or {}).items() if key != "content"}
    return {**identity, "data": data}


def _record(client: MlflowClient, trial: TrialRecord, run: Any, uri: str, cache: Path) -> TrialRecord:
    if run is None:
        return TrialRecord(trial.row, trial.seed, trial.key, State.MISSING, identity=trial.identity)
    directory = cache / _folder(run.info.run_id)
    result = _result(client, run, directory)
    state = STATE_OF.get(str(result.get("state")), State.MISSING)
    if not result:
        state = STATE_OF_RUN.get(run.info.status, State.MISSING)
    link = run_address(uri, run.info.experiment_id, run.info.run_id)
    key = str(result.get("key", trial.key))
    return TrialRecord(trial.row, trial.seed, key, state, result, directory, trial.identity, link)


def _result(client: MlflowClient, run: Any, directory: Path) -> Mapping[str, Any]:
    """Return a run's result file; where artifacts cannot be had, what its metrics and tags say.

    A trial that is run again keeps its run, so that only a finished result is read from the cache; while the run
    goes on, or was killed in a later attempt, its files and tags are those of an attempt before.
    """
    paths, key = TrialPaths(directory), str(run.data.tags.get("farlab.key"))
    cached = read_result(paths, key)
    if cached is not None and cached["state"] == "finished":
        return cached
    if run.info.status not in ENDED:
        said = _from_metrics(run)
        return said if run.info.status == "KILLED" and said.get("state") == "partial" else {}
    directory.mkdir(parents=True, exist_ok=True)
    for file in (paths.predictions, paths.metrics, paths.trial, paths.result):  # the result last: it means "whole"
        file.unlink(missing_ok=True)
        _fetch(client, run.info.run_id, file)
        if file == paths.predictions and not file.exists():  # the scores stayed in the store
            _fetch(client, run.info.run_id, directory / VIDEOS)
            with contextlib.suppress(OSError):
                (directory / VIDEOS).replace(file)
    found = read_result(paths, key)
    return found if found is not None else _from_metrics(run)


def _fetch(client: MlflowClient, run_id: str, file: Path) -> None:
    """Fetch an artifact into its place, if the server has it and it is a file."""
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".fetched-") as folder, contextlib.suppress(Exception):
        client.download_artifacts(run_id, file.name, folder)
        fetched = Path(folder) / file.name
        if fetched.is_file() and not fetched.is_symlink():
            fetched.replace(file)


def _folder(name: str) -> str:
    """Return the folder for what a server calls by this name: a run's id as MLflow makes them, or a hash of it."""
    return name if _RUN_ID.fullmatch(name) else hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _from_metrics(run: Any) -> dict[str, Any]:
    """Return what metrics and tags say of a result, by their names in this version or an earlier one."""
    tags, metrics = run.data.tags, run.data.metrics
    if tags.get("farlab.state") not in STATES:
        return {}

    def value(section: str, name: str, flat: str) -> float | None:
        return metrics.get(f"{section}/{name}", metrics.get(f"final_{flat}"))

    counts = {name: value("cost", name, name) for name in ("flops", "params", "peak_memory_bytes")}
    counts |= {
        "evaluated": value("test", "videos", "evaluated"),
        "expected": value("test", "videos_expected", "expected"),
    }
    said = {"kind": tags.get("farlab.error_kind", "error"), "message": tags.get("farlab.error")}
    return {
        "key": tags.get("farlab.key"),
        "state": tags["farlab.state"],
        "metrics": {name: value("test", name, name) for name in ("top1", "top5", "loss")},
        **{name: int(count) for name, count in counts.items() if count is not None and math.isfinite(count)},
        "code": {"git": tags.get("mlflow.source.git.commit", tags.get("farlab.code"))},
        "error": said if said["message"] else None,
    }
