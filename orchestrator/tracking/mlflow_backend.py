"""One sweep's runs in MLflow, each brought up to what its trial's directory says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from far.redaction import redacted
from far.store.atomic import read_json, write_json
from far.store.paths import TrialPaths
from far.store.records import read_result
from orchestrator.tracking.remembered import Remembered
from orchestrator.tracking.runs import PARENT, STORE, exists, experiment_of, find_or_create, is_gone, run_with
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from orchestrator.tracking.upload import STATUS, close_run, said, send_epochs, send_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

SAVE_SECONDS = 1.0
"""Between two writings of what was sent."""


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
                self._opened = not is_gone(error)  # it was deleted: the next round creates another
                raise

    def rebuild(self, client: MlflowClient, on_step: Callable[[], None] = lambda: None) -> None:
        """Delete what MLflow has of this sweep and forget it; the next ``sync`` writes everything again."""
        experiment = experiment_of(client, self.uri, self.sweep)
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
        """Find or make the parent run, and close what a killed driver left RUNNING and no sweep will run again."""
        if "parent" in self._state and not exists(client, self._state["parent"]):
            del self._state["parent"]  # it was deleted, but not the trials' own runs
        if "parent" not in self._state:
            self._state["experiment"] = experiment_of(client, self.uri, self.sweep)
            tags = {"farlab.kind": "sweep", "farlab.profile": self.sweep.profile, **self.sweep.tags}
            self._state["parent"] = run_with(client, self._state["experiment"], tags, f"sweep {self.sweep.profile}")
            self._adopt(client, on_step)
            self._save(now=True)
        parent = self._state["parent"]
        client.update_run(parent, status="RUNNING")
        ours = {known["run_id"] for known in self._state["runs"].values()} | {parent}
        keys = {trial.key for trial in self.sweep.trials}
        for run in client.search_runs([self._state["experiment"]], "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if "farlab.kind" not in tags or tags.get(STORE) != self.sweep.tags.get(STORE):
                continue  # another store's, which may be running it now
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
            known = self._state["runs"].pop(trial.key) and None
        if known and known.get("status") == "FINISHED" and not known.get("unsent"):
            return "FINISHED"
        result = read_result(paths)
        if known is None:
            if result is None and not paths.metrics.exists():
                return None
            known = self._state["runs"][trial.key] = find_or_create(
                client, self._state["experiment"], parent, self.sweep, trial
            )
            known["earlier"] = before
        elif known.get("status") and result is None and not final:
            client.update_run(known["run_id"], status="RUNNING")
            known["status"] = None
        send_epochs(client, known, paths)
        on_step()
        if result is not None and known.get("status") != STATUS.get(result["state"], "FAILED"):
            close_run(client, trial, known, result, on_step)
        elif result is not None and known.get("unsent") and final:
            send_files(client, trial, known, on_step)
        elif result is None and final and not known.get("status"):
            client.set_terminated(known["run_id"], "KILLED")
            known["status"] = "KILLED"
        if known.get("unsent"):
            self.troubles[trial.key] = known["unsent"]
        return _end(paths, known.get("status"))


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
