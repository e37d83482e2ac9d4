"""One sweep's runs in MLflow: which trial is which run, and bringing each up to what its trial's directory says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from far.errors import FarError
from far.redaction import redacted
from far.store.atomic import read_json, write_json
from far.store.paths import TrialPaths
from far.store.records import Result, read_epochs, read_result, read_spec
from orchestrator.tracking.remembered import Remembered

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1000
"""MLflow's limit on the metrics of one ``log_batch``."""
SAVE_SECONDS = 1.0
"""Between two writings of what was sent."""
PARENT, STORE = "mlflow.parentRunId", "farlab.store"
IDENTITY = ("farlab.kind", "farlab.key", "farlab.profile", STORE)
"""Tags by which a run is found again within the study's experiment, whatever its row is called now."""
STATUS = {"finished": "FINISHED", "partial": "KILLED"}
"""MLflow's status by result state; any other state is FAILED."""


@dataclass(frozen=True)
class TrackedTrial:
    """A trial of the sweep, as the study names it."""

    key: str
    row: str
    seed: int
    directory: Path


@dataclass(frozen=True)
class Sweep:
    """What is mirrored where: one experiment a study, one parent run a sweep, one child run a trial.

    Attributes:
        study: the experiment's name.
        profile: the scale; a study at another scale is another sweep of the same experiment.
        trials: the sweep's trials.
        state: the file that remembers run ids.
        artifacts: where artifacts go if the tracking store is a local data base.
        tags: further tags of every run, e.g. the paper's table.
    """

    study: str
    profile: str
    trials: list[TrackedTrial]
    state: Path
    artifacts: Path
    tags: dict[str, str]


class SweepMirror:
    """One sweep's runs: what is remembered of them, and how they are brought up to date.

    Attributes:
        troubles: why the tracking store did not take all of a trial, by the trial's key; the others are not held back.
    """

    def __init__(self, uri: str, sweep: Sweep) -> None:
        self.uri, self.sweep = uri, sweep
        self._state: dict[str, Any] = read_json(sweep.state, Remembered) or {"runs": {}}
        if redacted(str(self._state.get("uri"))) != redacted(uri):
            self._state = {"runs": {}}
        self._state["uri"] = redacted(uri)
        self._saved = 0.0
        self._opened = False
        self.troubles: dict[str, str] = {}

    def has_begun(self) -> bool:
        """Return whether any trial of the sweep is under way, or was before."""
        return self._opened or any(TrialPaths(trial.directory).progress.exists() for trial in list(self.sweep.trials))

    def sync(self, client: MlflowClient, *, final: bool, on_step: Callable[[], None] = lambda: None) -> None:
        """Send what MLflow does not have yet; what it does not take of a trial is noted in ``troubles``.

        Args:
            client: of the tracking store.
            final: nothing runs any more; runs without a result are closed as KILLED, and what was not taken before is
                tried once more.
            on_step: called whenever the store has taken something.

        Raises:
            Exception: whatever the tracking store raised that cannot be reached; what was sent is remembered.
        """
        if not self._opened:
            self._open(client, on_step)
        parent, ends = self._state["parent"], []
        if final:
            self.troubles = {}
        try:
            for trial in list(self.sweep.trials):
                ends.append(self._try_trial(client, parent, trial, final=final, on_step=on_step))
                on_step()
                self._save()
        finally:
            self._save(now=True)
        if final:
            unfinished = any(end in (None, "KILLED") for end in ends)
            status = "KILLED" if unfinished else "FAILED" if "FAILED" in ends else "FINISHED"
            try:
                client.set_terminated(parent, status)
            except Exception as error:
                self._opened = not _is_gone(error)  # somebody deleted it: the next look makes another
                raise

    def rebuild(self, client: MlflowClient, on_step: Callable[[], None] = lambda: None) -> None:
        """Delete what MLflow has of this sweep and forget it; the next ``sync`` writes everything again."""
        experiment = self._experiment(client)
        query = f"tags.`farlab.profile` = '{self.sweep.profile}'"
        if STORE in self.sweep.tags:  # what other stores logged stays
            query += f" and tags.`{STORE}` = '{self.sweep.tags[STORE]}'"
        token: str | None = None
        runs = []
        while token != "":
            page = client.search_runs([experiment], query, max_results=1000, page_token=token)
            runs += [run.info.run_id for run in page]
            token = page.token or ""
        for run_id in runs:
            client.delete_run(run_id)
            on_step()
        self._state = {"uri": redacted(self.uri), "runs": {}}
        self._opened = False

    def _save(self, *, now: bool = False) -> None:
        """Remember what was sent; a kill loses a second of it, which is found again by tags."""
        if now or time.monotonic() - self._saved > SAVE_SECONDS:
            write_json(self.sweep.state, self._state)
            self._saved = time.monotonic()

    def _open(self, client: MlflowClient, on_step: Callable[[], None]) -> None:
        """Find or make the parent run, and close what a killed driver left RUNNING and nobody will run again."""
        if "parent" in self._state and not _exists(client, self._state["parent"]):
            del self._state["parent"]  # somebody deleted it, but not the trials' own runs
        if "parent" not in self._state:
            self._state["experiment"] = self._experiment(client)
            tags = {"farlab.kind": "sweep", "farlab.profile": self.sweep.profile, **self.sweep.tags}
            self._state["parent"] = self._run_with(client, tags, f"sweep {self.sweep.profile}")
            self._adopt(client, on_step)
            self._save(now=True)
        parent = self._state["parent"]
        client.update_run(parent, status="RUNNING")
        ours = {known["run_id"] for known in self._state["runs"].values()} | {parent}
        keys = {trial.key for trial in self.sweep.trials}
        for run in client.search_runs([self._state["experiment"]], "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if "farlab.kind" not in tags or tags.get(STORE) != self.sweep.tags.get(STORE):
                continue  # somebody else's, who may be running it now
            same = tags.get("farlab.profile") == self.sweep.profile
            wanted = same and (tags.get("farlab.kind") == "sweep" or tags.get("farlab.key") in keys)
            if run.info.run_id not in ours and not wanted:
                client.set_terminated(run.info.run_id, "KILLED")
        self._opened = True

    def _adopt(self, client: MlflowClient, on_step: Callable[[], None]) -> None:
        """Put the runs that are remembered under a new parent run; those that were deleted are forgotten."""
        for key, known in list(self._state["runs"].items()):
            try:
                client.set_tag(known["run_id"], PARENT, self._state["parent"])
            except Exception as error:
                if not _is_gone(error):
                    raise
                del self._state["runs"][key]
            on_step()

    def _try_trial(
        self, client: MlflowClient, parent: str, trial: TrackedTrial, *, final: bool, on_step: Callable[[], None]
    ) -> str | None:
        """Bring one run up to date; what the store does not take of it is noted, unless the store is not there at all.

        Returns:
            How the trial ended, as MLflow calls it or PRUNED; None if it has not begun.
        """
        if trial.key in self.troubles and not final:
            return None  # tried again at the end
        for again in (True, False):
            try:
                return self._sync_trial(client, parent, trial, final=final, on_step=on_step)
            except Exception as error:
                if again and _is_gone(error) and self._state["runs"].pop(trial.key, None):
                    continue  # somebody deleted the run: make it anew
                client.get_run(parent)  # raises if it is the store that cannot be reached
                self.troubles[trial.key] = _said(error)
                break
        return _end(TrialPaths(trial.directory), None)

    def _sync_trial(
        self, client: MlflowClient, parent: str, trial: TrackedTrial, *, final: bool, on_step: Callable[[], None]
    ) -> str | None:
        paths = TrialPaths(trial.directory)
        known = self._state["runs"].get(trial.key)
        if known and known.get("status") == "FINISHED" and not known.get("unsent"):
            return "FINISHED"
        result = read_result(paths)
        if known is None:
            if result is None and not paths.metrics.exists():
                return None
            known = self._state["runs"][trial.key] = self._find_or_create(client, parent, trial)
        elif known.get("status") and result is None and not final:
            client.update_run(known["run_id"], status="RUNNING")
            known["status"] = None
        self._send_epochs(client, known, paths)
        on_step()
        if result is not None and known.get("status") != STATUS.get(result["state"], "FAILED"):
            self._close_run(client, trial, known, result, on_step)
        elif result is not None and known.get("unsent") and final:
            self._send_files(client, trial, known, on_step)
        elif result is None and final and not known.get("status"):
            client.set_terminated(known["run_id"], "KILLED")
            known["status"] = "KILLED"
        if known.get("unsent"):
            self.troubles[trial.key] = known["unsent"]
        return _end(paths, known.get("status"))

    def _send_epochs(self, client: MlflowClient, known: dict[str, Any], paths: TrialPaths) -> None:
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

    def _close_run(
        self,
        client: MlflowClient,
        trial: TrackedTrial,
        known: dict[str, Any],
        result: Result,
        on_step: Callable[[], None],
    ) -> None:
        from mlflow.entities import Metric, RunTag

        now, run_id = _milliseconds(result.get("finished_at")), known["run_id"]
        final: dict[str, Any] = {
            **(result["metrics"] or {}),
            **{name: result.get(name) for name in ("flops", "params", "seconds")},
        }
        final |= {name: result.get(name) for name in ("evaluated", "expected", "peak_memory_bytes")}
        client.log_batch(
            run_id,
            metrics=[
                Metric(f"final_{name}", float(value), now, 0) for name, value in final.items() if value is not None
            ],
            tags=[
                RunTag("farlab.state", result["state"]),
                RunTag("farlab.attempts", str(result.get("starts") or 1)),
                RunTag("farlab.code", str((result.get("code") or {}).get("git"))),
                RunTag("farlab.error", redacted(str((result.get("error") or {}).get("message", "")))[:500]),
            ],
        )
        self._send_files(client, trial, known, on_step)
        status = STATUS.get(result["state"], "FAILED")
        started = client.get_run(run_id).info.start_time or now
        client.set_terminated(run_id, status, end_time=max(now, started))  # clocks go back at times
        known["status"] = status

    def _send_files(
        self, client: MlflowClient, trial: TrackedTrial, known: dict[str, Any], on_step: Callable[[], None]
    ) -> None:
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
            if _is_gone(error):
                raise
            known["unsent"] = f"its files cannot be uploaded: {_said(error)}"

    # -- runs --

    def _experiment(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.sweep.study)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # A local data base would put artifacts into the current directory; a server has its own place for them.
        local = self.uri.startswith("sqlite:")
        place = (self.sweep.artifacts / self.sweep.study).as_uri() if local else None
        made = client.create_experiment(self.sweep.study, artifact_location=place)
        client.set_experiment_tag(made, "mlflow.experimentKind", "custom_model_development")  # which view the UI opens
        return str(made)

    def _find_or_create(self, client: MlflowClient, parent: str, trial: TrackedTrial) -> dict[str, Any]:
        from mlflow.entities import Param

        tags = {
            PARENT: parent,
            "farlab.kind": "trial",
            "farlab.key": trial.key,
            "farlab.row": trial.row,
            "farlab.seed": str(trial.seed),
            "farlab.profile": self.sweep.profile,
            **self.sweep.tags,
        }
        run_id = self._run_with(client, tags, f"{trial.row} seed {trial.seed}")
        if "row" not in client.get_run(run_id).data.params:
            spec = read_spec(TrialPaths(trial.directory))
            values = {"row": trial.row, "seed": trial.seed, **_flat(spec.get("config") or {})}
            client.log_batch(run_id, params=[Param(key, str(value)) for key, value in values.items()])
        logged = client.get_metric_history(run_id, "train_loss")
        return {"run_id": run_id, "epochs": len({metric.step for metric in logged}), "status": None}

    def _run_with(self, client: MlflowClient, tags: dict[str, str], name: str) -> str:
        """Return the run that is the same by the tags that tell runs apart, made now if there is none."""
        clean = {key: value.replace("'", "") for key, value in tags.items()}
        query = " and ".join(f"tags.`{key}` = '{clean[key]}'" for key in IDENTITY if key in clean)
        experiment = self._state["experiment"]
        found = client.search_runs([experiment], query, max_results=1)
        if not found:
            return str(client.create_run(experiment, tags=clean, run_name=name).info.run_id)
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        for key, value in clean.items():
            if found[0].data.tags.get(key) != value:  # e.g. under another parent, or its row has another name now
                client.set_tag(run_id, key, value)
        return run_id


def _end(paths: TrialPaths, status: str | None) -> str | None:
    """Return how a trial ended: as its run, or by its result; one that a search has stopped early ended well."""
    result = read_result(paths)
    if result is None:
        return status
    if result["state"] == "partial":
        return "PRUNED"
    return status or STATUS.get(result["state"], "FAILED")


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


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(redacted(str(error)).split())[:200]}"


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except Exception as error:
        if _is_gone(error):
            return False
        raise


def _is_gone(error: Exception) -> bool:
    """Return whether MLflow says that a run is deleted or was never there, rather than that it cannot answer."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and (
        error.error_code == "RESOURCE_DOES_NOT_EXIST" or "must be in the 'active' state" in str(error)
    )


def _milliseconds(text: str | None) -> int:
    return int(1000 * (datetime.fromisoformat(text).timestamp() if text else time.time()))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and key != "attention":
            flat |= _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" != "seed":
            flat[f"{prefix}{key}"] = value
    return flat
