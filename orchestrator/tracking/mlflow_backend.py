"""One sweep's runs in MLflow, each brought up to what its trial's directory says."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far import __version__
from far.redaction import redacted
from far.store.atomic import read_json, write_json
from far.store.paths import TrialPaths
from far.store.records import Result, Spec, read_epochs, read_result, read_spec
from orchestrator.tracking import contents
from orchestrator.tracking.contents import STATUS
from orchestrator.tracking.database import STORE, Database, is_database
from orchestrator.tracking.remembered import Remembered
from orchestrator.tracking.runs import (
    PARENT,
    clean_tags,
    exists,
    experiment_of,
    is_gone,
    parent_run,
    remove,
    runs_of,
    update_tags,
)
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from orchestrator.tracking.upload import has_files, log_data_set, log_values, said, send_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

SAVE_SECONDS = 1.0
"""Between two writings of what was sent."""


class SweepMirror:
    """One sweep's runs: what is remembered of them, and how they are brought up to date.

    Attributes:
        troubles: why the tracking store did not take all of a trial, by the trial's key; the others are not held back.
        renewed: runs that were removed and written again: they were of an earlier version, or on a server, which keeps
            a parameter for ever, and their row has another name.
        missing: what of the study, rather than of a trial, is not there, and why.
        done: trials that were looked at since ``sync`` began.
    """

    def __init__(self, uri: str, sweep: Sweep) -> None:
        self.uri, self.sweep = uri, sweep
        self._state: dict[str, Any] = read_json(sweep.state, Remembered) or {"runs": {}}
        if redacted(str(self._state.get("uri"))) != redacted(uri):
            self._state = {"runs": {}}
        self._state["uri"] = redacted(uri)
        self._saved = 0.0
        self._opened = False
        self._database: Database | None = None
        self._found: dict[str, Any] = {}
        self._location = ""
        self._places: dict[str, str] = {}
        self.troubles: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.renewed = self.done = 0

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
        parent, ends, self.done = self._state["parent"], [], 0
        if final:
            self.troubles = {}
        try:
            for trial in list(self.sweep.trials):
                ends.append(self._try_trial(client, parent, trial, final=final, on_step=on_step))
                self.done += 1
                on_step()
                self._save()
        finally:
            self._save(now=True)
        if final:
            unfinished = any(end in (None, "KILLED") for end in ends)
            status = "KILLED" if unfinished else "FAILED" if "FAILED" in ends else "FINISHED"
            try:
                if not unfinished:
                    self._summarise(client, parent, on_step)
                self._close(client, parent, status)
            except Exception as error:
                self._opened = not is_gone(error)  # it was deleted: the next round creates another
                raise

    def rebuild(self, client: MlflowClient, on_step: Callable[[], None] = lambda: None) -> None:
        """Delete what MLflow has of this sweep and forget it; the next ``sync`` writes everything again."""
        database = self._connect()
        experiment = experiment_of(client, database, self.sweep)
        for run in list(runs_of(client, experiment, self.sweep, deleted=database is not None)):
            remove(client, database, self.uri, run)
            on_step()
        self._state = {"uri": redacted(self.uri), "runs": {}}
        self._found, self._places = {}, {}
        self._opened = False

    def _connect(self) -> Database | None:
        if self._database is None and is_database(self.uri):
            self._database = Database(self.uri)
        return self._database

    def _save(self, *, now: bool = False) -> None:
        """Remember what was sent; a kill loses a second of it, which is found again by tags."""
        if now or time.monotonic() - self._saved > SAVE_SECONDS:
            write_json(self.sweep.state, self._state)
            self._saved = time.monotonic()

    def _open(self, client: MlflowClient, on_step: Callable[[], None]) -> None:
        """Find or make the parent run, and close what a killed driver left RUNNING and no sweep will run again."""
        database = self._connect()
        experiment = experiment_of(client, database, self.sweep)
        if self._state.get("experiment") not in (None, experiment):
            self._state = {"uri": redacted(self.uri), "runs": {}}  # somebody deleted it for good
        self._state["experiment"] = experiment
        self._location = str(client.get_experiment(experiment).artifact_location)
        if "parent" in self._state and not exists(client, self._state["parent"]):
            del self._state["parent"]  # it was deleted, but not the trials' own runs
        tags, begun = contents.sweep_tags(self.sweep), self._times()
        start = min((start for start, _ in begun.values()), default=None)
        if "parent" not in self._state:
            name = f"sweep {self.sweep.profile}"
            self._state["parent"] = parent_run(client, experiment, tags, name, start)
            self._adopt(client, on_step)
            self._save(now=True)
        parent = self._state["parent"]
        client.update_run(parent, status="RUNNING")
        log_values(client, parent, tags=clean_tags(tags))
        self._send_plan(client, parent)
        if not begun.keys() <= self._state["runs"].keys():
            for run in runs_of(client, experiment, self.sweep):
                if run.data.tags.get("farlab.kind") == "trial":
                    self._found[run.data.tags.get("farlab.key", "")] = run
                    on_step()
        ours = {known["run_id"] for known in self._state["runs"].values()} | {parent}
        keys = {trial.key for trial in self.sweep.trials}
        for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if "farlab.kind" not in tags or tags.get(STORE) != self.sweep.tags.get(STORE):
                continue  # another store's, which may be running it now
            same = tags.get("farlab.profile") == self.sweep.profile
            wanted = same and (tags.get("farlab.kind") == "sweep" or tags.get("farlab.key") in keys)
            if run.info.run_id not in ours and not wanted:
                client.set_terminated(run.info.run_id, "KILLED")
        self._opened = True

    def _times(self) -> dict[str, tuple[int, int]]:
        """Return when each trial that has begun was started and ended, in milliseconds since 1970."""
        times = {}
        for trial in list(self.sweep.trials):
            known = self._state["runs"].get(trial.key) or {}
            if known.get("status") and known.get("start") and known.get("end"):
                times[trial.key] = (known["start"], known["end"])
                continue
            paths = TrialPaths(trial.directory)
            result = read_result(paths)
            if result is None and not paths.metrics.exists():
                continue
            epochs = read_epochs(paths)
            end = contents.ended(paths, epochs, result)
            start = contents.began(read_spec(paths), epochs, result)
            times[trial.key] = (end if start is None else min(start, end), end)
        return times

    def _close(self, client: MlflowClient, parent: str, status: str) -> None:
        """End the sweep's own run: it lasts from the start of its first trial to the end of its last."""
        times = self._times().values()
        if not times:
            client.set_terminated(parent, status)
            return
        start, end = min(start for start, _ in times), max(end for _, end in times)
        if self._database is not None:
            self._database.set_start(parent, start)
        client.set_terminated(parent, status, end_time=end)

    def _send_plan(self, client: MlflowClient, parent: str) -> None:
        """Give the sweep's run the study as submitted, and the list of its trials."""
        try:
            lockfile = self.sweep.lockfile.read_bytes() if self.sweep.lockfile else b""
        except OSError:
            return
        digest = hashlib.sha256(lockfile).hexdigest()
        if not lockfile or self._state.get("lockfile") == digest:
            return
        with self._noted("its lock file"):
            client.log_artifact(parent, str(self.sweep.lockfile))
            text = io.StringIO()
            lines = csv.writer(text, lineterminator="\n")
            lines.writerow(["row", "seed", "trial"])
            lines.writerows([trial.row, trial.seed, trial.key] for trial in self.sweep.trials)
            client.log_text(parent, text.getvalue(), "plan.csv")
            self._state["lockfile"] = digest

    def _summarise(self, client: MlflowClient, parent: str, on_step: Callable[[], None]) -> None:
        """Give the sweep's run the tables and figures of the study, and the means of its rows, unless it has them."""
        if self.sweep.summarise is None:
            return
        results = [(trial.row, trial.key, read_result(TrialPaths(trial.directory))) for trial in self.sweep.trials]
        digest = hashlib.sha256(json.dumps([__version__, results]).encode()).hexdigest()
        if self._state.get("summary") == digest:
            return
        with self._noted("its tables and figures"), tempfile.TemporaryDirectory(prefix="farlab-report-") as folder:
            means = self.sweep.summarise(Path(folder))
            on_step()
            client.log_artifacts(parent, folder, "report")
            log_values(client, parent, list(contents.mean_points(means)))
            self._state["summary"] = digest
            self._save(now=True)

    @contextlib.contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """Let a failure be a note: all trials have arrived, and the next ``sync`` tries again."""
        try:
            yield
        except Exception as error:
            if is_gone(error):
                raise
            self.missing[what] = said(error)
        else:
            self.missing.pop(what, None)

    def _adopt(self, client: MlflowClient, on_step: Callable[[], None]) -> None:
        """Put the runs that are remembered under a new parent run; those that were deleted are forgotten."""
        for key, known in list(self._state["runs"].items()):
            try:
                client.set_tag(known["run_id"], PARENT, self._state["parent"])
            except Exception as error:
                if not is_gone(error):
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
                if again and is_gone(error) and self._state["runs"].pop(trial.key, None):
                    continue  # the run was deleted: create it again
                client.get_run(parent)  # raises if it is the store that cannot be reached
                self.troubles[trial.key] = said(error)
                break
        return _end(TrialPaths(trial.directory), None)

    def _sync_trial(
        self, client: MlflowClient, parent: str, trial: TrackedTrial, *, final: bool, on_step: Callable[[], None]
    ) -> str | None:
        paths = TrialPaths(trial.directory)
        known = self._state["runs"].get(trial.key)
        before = len(list(paths.earlier.glob("[0-9]*")))
        if known and known.get("earlier", 0) != before:
            _retire(client, known)
            self._state["runs"].pop(trial.key)
            self._found.pop(trial.key, None)
            known = None
        if known and not self._is_current(client, known, trial):
            known = None
        if known and known.get("status") == "FINISHED" and not known.get("unsent"):
            if not final or self._database is None or has_files(self._place(client, known)):
                return "FINISHED"
            known["unsent"] = "its files are gone"
        result = read_result(paths)
        if result is None and not paths.metrics.exists():
            return None
        records, spec = read_epochs(paths), read_spec(paths)
        if known is None:
            known = self._begin(client, parent, trial, spec, contents.began(spec, records, result))
            known["earlier"] = before
        elif known.get("status") and result is None and not final:
            client.update_run(known["run_id"], status="RUNNING")
            known["status"] = None
        self._send(client, trial, known, spec, records, result)
        on_step()
        status = None if result is None else STATUS.get(result["state"], "FAILED")
        if result is not None and (known.get("status") != status or (known.get("unsent") and final)):
            send_files(client, trial, known, self._place(client, known), result, on_step)
        if result is not None and known.get("status") != status:
            self._end_run(client, known, str(status), contents.ended(paths, records, result))
        elif result is None and final and not known.get("status"):
            self._end_run(client, known, "KILLED", contents.ended(paths, records, None))
        if known.get("unsent"):
            self.troubles[trial.key] = known["unsent"]
        return _end(paths, known.get("status"))

    def _is_current(self, client: MlflowClient, known: dict[str, Any], trial: TrackedTrial) -> bool:
        """Return whether a run is as this version and the study have it; one that is not is renamed, or removed."""
        run_id, row, varied = known["run_id"], known.get("row"), list(self.sweep.varied)
        if known.get("layout") == contents.LAYOUT and (
            row is None or (row, known.get("varied")) == (trial.row, varied)
        ):
            return True
        run = client.get_run(run_id)
        if known.get("layout") != contents.LAYOUT or (row != trial.row and self._database is None):
            self._remove(client, run, trial.key)
            return False
        spec = read_spec(TrialPaths(trial.directory))
        client.update_run(run_id, name=contents.run_name(trial.row, trial.seed))
        update_tags(client, run, clean_tags(contents.trial_tags(self.sweep, trial, spec)))
        values = contents.parameters(self.sweep, trial, spec)
        log_values(client, run_id, parameters={k: v for k, v in values.items() if k not in run.data.params})
        if self._database is not None:
            self._database.set_parameter(run_id, "row", values["row"])
        known["row"], known["varied"] = trial.row, varied
        return True

    def _remove(self, client: MlflowClient, run: Any, key: str) -> None:
        remove(client, self._database, self.uri, run)
        self._state["runs"].pop(key, None)
        self._found.pop(key, None)
        self._places.pop(run.info.run_id, None)
        self.renewed += 1

    def _begin(
        self, client: MlflowClient, parent: str, trial: TrackedTrial, spec: Spec, started: int | None
    ) -> dict[str, Any]:
        """Return what is to be remembered of a trial's run, which is found by its tags, or made."""
        tags = clean_tags({PARENT: parent, **contents.trial_tags(self.sweep, trial, spec)})
        run = self._found.get(trial.key)
        if run is not None:
            layout, row = run.data.tags.get("farlab.layout"), run.data.params.get("row")
            logged = client.get_metric_history(run.info.run_id, "train/loss")
            epochs = len({metric.step for metric in logged})
            known = {"run_id": run.info.run_id, "epochs": epochs, "layout": layout, "row": row}
            if self._is_current(client, known, trial):
                client.update_run(run.info.run_id, status="RUNNING")
                update_tags(client, run, tags)
                place = run.info.artifact_uri
            else:
                run = None
        if run is None:
            name = contents.run_name(trial.row, trial.seed)
            run = client.create_run(self._state["experiment"], start_time=started, tags=tags, run_name=name)
            place = run.info.artifact_uri
            if self._database is not None:
                place = self._database.follow_run(run.info.run_id, place, self.sweep)
            known = {"run_id": run.info.run_id, "epochs": 0, "layout": contents.LAYOUT}
        self._places[run.info.run_id] = place
        self._state["runs"][trial.key] = known = {**known, "status": None, "start": run.info.start_time}
        return known

    def _send(
        self,
        client: MlflowClient,
        trial: TrackedTrial,
        known: dict[str, Any],
        spec: Spec,
        records: Sequence[Mapping[str, Any]],
        result: Result | None,
    ) -> None:
        """Send the values that a run does not have."""
        run_id = known["run_id"]
        is_new, ends = known.get("row") is None, result is not None and not known.get("status")
        points = [point for record in records[known["epochs"] :] for point in contents.epoch_points(record)]
        tags: dict[str, str] = {}
        if result is not None and ends:
            paths = TrialPaths(trial.directory)
            points += contents.final_points(result, contents.ended(paths, records, result))
            tags = contents.result_tags(result)
        log_values(client, run_id, points, contents.parameters(self.sweep, trial, spec) if is_new else None, tags)
        known["epochs"] = max(known["epochs"], len(records))
        known["row"], known["varied"] = trial.row, list(self.sweep.varied)
        if not known.get("input"):
            known["input"] = log_data_set(client, run_id, spec, result)

    def _end_run(self, client: MlflowClient, known: dict[str, Any], status: str, end: int) -> None:
        known["end"] = max(end, known.get("start") or end)  # clocks go back at times
        client.set_terminated(known["run_id"], status, end_time=known["end"])
        known["status"] = status

    def _place(self, client: MlflowClient, known: dict[str, Any]) -> str:
        """Return the address of a run's artifacts."""
        run_id = known["run_id"]
        if run_id not in self._places and self._database is not None and self._location:
            self._places[run_id] = f"{self._location.rstrip('/')}/{run_id}/artifacts"
        if run_id not in self._places:
            self._places[run_id] = str(client.get_run(run_id).info.artifact_uri)
        return self._places[run_id]


def _retire(client: MlflowClient, known: dict[str, Any]) -> None:
    """Keep the run of a trial that is rerun, no longer found as the trial's."""
    client.set_tag(known["run_id"], "farlab.kind", "earlier trial")
    if not known.get("status"):
        client.set_terminated(known["run_id"], "KILLED")


def _end(paths: TrialPaths, status: str | None) -> str | None:
    """Return how a trial ended: as its run, or by its result; one that a search has stopped early ended well."""
    result = read_result(paths)
    if result is None:
        return status
    if result["state"] == "partial":
        return "PRUNED"
    return status or STATUS.get(result["state"], "FAILED")
