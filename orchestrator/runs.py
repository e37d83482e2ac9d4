"""One sweep's runs in MLflow: which trial is which run, and bringing each up to what its trial's directory says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.files import TrialPaths, read_json, read_json_lines, write_json
from far.redaction import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1000
"""MLflow's limit on the metrics of one ``log_batch``."""
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
    """One sweep's runs: what is remembered of them, and how they are brought up to date."""

    def __init__(self, uri: str, sweep: Sweep) -> None:
        self.uri, self.sweep = uri, sweep
        self._state: dict[str, Any] = read_json(sweep.state) or {}
        if redacted(str(self._state.get("uri"))) != redacted(uri):
            self._state = {"runs": {}}
        self._state["uri"] = redacted(uri)
        self._opened = False

    def has_begun(self) -> bool:
        """Return whether any trial of the sweep is under way, or was before."""
        return self._opened or any(TrialPaths(trial.directory).progress.exists() for trial in list(self.sweep.trials))

    def sync(self, client: MlflowClient, *, final: bool) -> None:
        """Send what MLflow does not have yet.

        Args:
            client: of the tracking store.
            final: nothing runs any more; runs without a result are closed as KILLED.

        Raises:
            Exception: whatever the tracking store raised; what was sent is remembered.
        """
        if not self._opened:
            self._open(client)
        parent, states = self._state["parent"], []
        try:
            for trial in list(self.sweep.trials):
                try:
                    states.append(self._sync_trial(client, parent, trial, final=final))
                except Exception as error:
                    if not _is_gone(error) or trial.key not in self._state["runs"]:
                        raise
                    del self._state["runs"][trial.key]  # somebody deleted the run: make it anew
                    states.append(self._sync_trial(client, parent, trial, final=final))
        finally:
            write_json(self.sweep.state, self._state)
        if final:
            good = all(state == "FINISHED" for state in states)
            status = "FINISHED" if good else "KILLED" if "KILLED" in states or None in states else "FAILED"
            client.set_terminated(parent, status)

    def rebuild(self, client: MlflowClient) -> None:
        """Delete what MLflow has of this sweep and forget it; the next ``sync`` writes everything again."""
        experiment = self._experiment(client)
        query = f"tags.`farlab.profile` = '{self.sweep.profile}'"
        if "farlab.store" in self.sweep.tags:  # what other stores logged stays
            query += f" and tags.`farlab.store` = '{self.sweep.tags['farlab.store']}'"
        token: str | None = None
        runs = []
        while token != "":
            page = client.search_runs([experiment], query, max_results=1000, page_token=token)
            runs += [run.info.run_id for run in page]
            token = page.token or ""
        for run_id in runs:
            client.delete_run(run_id)
        self._state = {"uri": redacted(self.uri), "runs": {}}
        self._opened = False

    def _open(self, client: MlflowClient) -> None:
        """Find or make the parent run, and close what a killed driver left RUNNING and nobody will run again."""
        if "parent" in self._state and not _exists(client, self._state["parent"]):
            self._state = {"uri": redacted(self.uri), "runs": {}}
        parent = self._parent(client)
        client.update_run(parent, status="RUNNING")
        ours = {known["run_id"] for known in self._state["runs"].values()} | {parent}
        keys = {trial.key for trial in self.sweep.trials}
        for run in client.search_runs([self._state["experiment"]], "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if "farlab.kind" not in tags or tags.get("farlab.store") != self.sweep.tags.get("farlab.store"):
                continue  # somebody else's, who may be running it now
            same = tags.get("farlab.profile") == self.sweep.profile
            wanted = same and (tags.get("farlab.kind") == "sweep" or tags.get("farlab.key") in keys)
            if run.info.run_id not in ours and not wanted:
                client.set_terminated(run.info.run_id, "KILLED")
        self._opened = True

    def _sync_trial(self, client: MlflowClient, parent: str, trial: TrackedTrial, *, final: bool) -> str | None:
        """Bring one run up to date; return its status if it is closed."""
        from mlflow.entities import Metric

        paths = TrialPaths(trial.directory)
        known = self._state["runs"].get(trial.key)
        result = read_json(paths.result)
        if known and known.get("status") == "FINISHED":
            return "FINISHED"
        if known is None:
            if result is None and not paths.metrics.exists():
                return None
            known = self._state["runs"][trial.key] = self._find_or_create(client, parent, trial)
        elif known.get("status") and result is None and not final:
            client.update_run(known["run_id"], status="RUNNING")
            known["status"] = None
        records = read_json_lines(paths.metrics)
        new = records[known["epochs"] :]
        metrics = [
            Metric(name, value, _milliseconds(record.get("time")), record["epoch"] + 1)
            for record in new
            for name, value in record.items()
            if name not in ("epoch", "time") and isinstance(value, int | float)
        ]
        for start in range(0, len(metrics), BATCH):
            client.log_batch(known["run_id"], metrics=metrics[start : start + BATCH])
        known["epochs"] = max(known["epochs"], len(records))
        if result is not None and known.get("status") != STATUS.get(result["state"], "FAILED"):
            self._close_run(client, known, paths, result)
        elif result is None and final and not known.get("status"):
            client.set_terminated(known["run_id"], "KILLED")
            known["status"] = "KILLED"
        return known.get("status")

    def _close_run(
        self, client: MlflowClient, known: dict[str, Any], paths: TrialPaths, result: dict[str, Any]
    ) -> None:
        from mlflow.entities import Metric, RunTag

        now, run_id = _milliseconds(result.get("finished_at")), known["run_id"]
        final = {**result["metrics"], **{name: result.get(name) for name in ("flops", "params", "seconds")}}
        final |= {name: result.get(name) for name in ("evaluated", "expected", "peak_memory_bytes")}
        client.log_batch(
            run_id,
            metrics=[
                Metric(f"final_{name}", float(value), now, 0) for name, value in final.items() if value is not None
            ],
            tags=[
                RunTag("farlab.state", result["state"]),
                RunTag("farlab.attempts", str(len(result.get("attempts") or [1]))),
                RunTag("farlab.code", str((result.get("code") or {}).get("git"))),
                RunTag("farlab.error", str((result.get("error") or {}).get("message", ""))[:500]),
            ],
        )
        for file in (paths.result, paths.trial, paths.metrics, paths.predictions):
            if file.exists():
                client.log_artifact(run_id, str(file))
        known["status"] = STATUS.get(result["state"], "FAILED")
        started = client.get_run(run_id).info.start_time or now
        client.set_terminated(run_id, known["status"], end_time=max(now, started))  # clocks go back at times

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

    def _parent(self, client: MlflowClient) -> str:
        if "parent" not in self._state:
            tags = {"farlab.kind": "sweep", "farlab.profile": self.sweep.profile, **self.sweep.tags}
            self._state["experiment"] = self._experiment(client)
            self._state["parent"] = self._run_with(client, tags, f"sweep {self.sweep.profile}")
            write_json(self.sweep.state, self._state)
        parent: str = self._state["parent"]
        return parent

    def _find_or_create(self, client: MlflowClient, parent: str, trial: TrackedTrial) -> dict[str, Any]:
        from mlflow.entities import Param

        tags = {
            "mlflow.parentRunId": parent,
            "farlab.kind": "trial",
            "farlab.key": trial.key,
            "farlab.row": trial.row,
            "farlab.seed": str(trial.seed),
            "farlab.profile": self.sweep.profile,
            **self.sweep.tags,
        }
        run_id = self._run_with(client, tags, f"{trial.row} seed {trial.seed}")
        if "row" not in client.get_run(run_id).data.params:
            spec = read_json(TrialPaths(trial.directory).trial) or {}
            values = {"row": trial.row, "seed": trial.seed, **_flat(spec.get("config") or {})}
            client.log_batch(run_id, params=[Param(key, str(value)) for key, value in values.items()])
        logged = client.get_metric_history(run_id, "train_loss")
        return {"run_id": run_id, "epochs": len({metric.step for metric in logged}), "status": None}

    def _run_with(self, client: MlflowClient, tags: dict[str, str], name: str) -> str:
        """Return the run that carries these tags, made now if there is none."""
        query = " and ".join(f"tags.`{key}` = '{value.replace(chr(39), '')}'" for key, value in tags.items())
        experiment = self._state["experiment"]
        found = client.search_runs([experiment], query, max_results=1)
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        clean = {key: value.replace("'", "") for key, value in tags.items()}
        return str(client.create_run(experiment, tags=clean, run_name=name).info.run_id)


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
