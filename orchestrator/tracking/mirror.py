"""The MLflow mirror: one writer that brings the tracking store up to what the trial directories say.

It reads ``metrics.jsonl`` and ``result.json`` and sends what MLflow does not have yet; it never listens to a trial, so
training neither waits for tracking nor dies of it, and an outage is caught up with later. The runs it made are
remembered in a file and found again by their tags, so a restart makes no second run and logs no step twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from far.redaction import redacted
from far.store.atomic import clear_abandoned, scratch_path
from orchestrator.executors import collector
from orchestrator.tracking.database import is_database
from orchestrator.tracking.mlflow_backend import SweepMirror
from orchestrator.tracking.tracked import Sweep, TrackedTrial

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

INTERVAL = 2.0
"""Seconds between two looks at the trial directories."""
LOOK = 0.5
"""Seconds between two looks at whether any trial is under way."""
NICENESS = 10
"""Of the mirror's thread."""
PATIENCE = 30.0
"""Seconds of silence that a finished sweep bears from the tracking store."""
HURRY = 6.0
"""Seconds of silence that an interrupted sweep bears, or one whose tracking store has been away before the end."""
LONGEST_HURRY = 18.0
"""Seconds that an interrupted sweep waits for it in all."""
SHOWN = 3
"""Trials that are named where the store did not take something of more."""
RETRY = 1.0
"""Seconds between two tries of the last look."""
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class Mirror:
    """Keeps sweeps in MLflow up to date, from a thread of its own: the only writer.

    Args:
        uri: MLflow tracking URI.
        sweeps: what to mirror.
        rebuild: delete the sweeps' runs first and write everything again.
    """

    def __init__(self, uri: str, sweeps: Sequence[Sweep], *, rebuild: bool = False) -> None:
        self.uri = uri
        self.problem: str | None = None
        self._mirrors = [SweepMirror(uri, sweep) for sweep in sweeps]
        self._to_rebuild = list(self._mirrors) if rebuild else []
        self._client: MlflowClient | None = None
        self._stop = threading.Event()
        self._heard, self._patience = time.monotonic(), float("inf")
        self._asked = False
        self._complete = self._hopeless = False
        self._thread = threading.Thread(target=self._loop, name="mlflow-mirror", daemon=True)

    def start(self) -> None:
        """Start mirroring."""
        self._thread.start()

    def add(self, study: str, trial: TrackedTrial) -> None:
        """Mirror one more trial of a study, which a search has just proposed."""
        for mirror in self._mirrors:
            if mirror.sweep.study == study and all(trial.key != other.key for other in mirror.sweep.trials):
                mirror.sweep.trials.append(trial)

    @property
    def troubles(self) -> list[str]:
        """What the store did not take, trial by trial; everything else has arrived."""
        return [
            f"{trial.row}, seed {trial.seed}: {mirror.troubles[trial.key]}"
            for mirror in self._mirrors
            for trial in mirror.sweep.trials
            if trial.key in mirror.troubles
        ]

    @property
    def reason(self) -> str:
        """Why the store is not up to date, after ``close`` has said that it is not."""
        if self.problem is not None:
            return self.problem
        troubles = self.troubles
        if troubles:
            more = f"; and {len(troubles) - SHOWN} more" if len(troubles) > SHOWN else ""
            return f"{len(troubles)} of its trials: {'; '.join(troubles[:SHOWN])}{more}"
        silent = time.monotonic() - self._heard > self._patience
        return "it did not answer" if silent else "there was more to send than there was time for"

    def close(
        self,
        *,
        timeout: float = PATIENCE,
        at_most: float = float("inf"),
        on_wait: Callable[[int, int], None] = lambda done, total: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> bool:
        """Bring the store up to date, close what no longer runs, and stop; return whether all was sent.

        Args:
            timeout: seconds of silence after which a store is left as it is, to be caught up with later.
            at_most: seconds after which it is left even if it answers.
            on_wait: called about once per second with how many trials were looked at, and how many there are.
            on_note: called with what was done besides sending what is new, in words.
        """
        if self.problem is not None:
            timeout = min(timeout, HURRY)  # it has not answered for a while: the next sweep catches up
        end = time.monotonic() + at_most
        self._heard = time.monotonic()
        self._patience = timeout
        self._stop.set()
        if self._thread.ident is None:
            self._thread.start()
        while self._thread.is_alive() and time.monotonic() < min(end, self._heard + timeout + 1.0):
            self._thread.join(min(1.0, at_most))
            on_wait(*self._progress())
            if not self._asked:
                self._heard = time.monotonic()  # it cannot have answered: MLflow is still being imported
        for text in self._notes():
            on_note(text)
        return self._complete

    def _step(self) -> None:
        self._heard = time.monotonic()

    def _progress(self) -> tuple[int, int]:
        """Return how many trials this look has come by, and how many there are."""
        return sum(mirror.done for mirror in self._mirrors), sum(len(mirror.sweep.trials) for mirror in self._mirrors)

    def _notes(self) -> list[str]:
        """Return what was done besides sending what is new."""
        return [
            f"study '{mirror.sweep.study}': {mirror.renewed} of its MLflow runs were written again: they were of an "
            "earlier version of FARLab, or their rows have other names"
            for mirror in self._mirrors
            if mirror.renewed
        ] + [
            f"study '{mirror.sweep.study}': MLflow does not have {what}: {why}"
            for mirror in self._mirrors
            for what, why in mirror.missing.items()
        ]

    def _loop(self) -> None:
        with contextlib.suppress(OSError):  # Linux has priorities by thread: training comes first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        wait = 0.0
        while not self._stop.wait(wait):
            if not self._to_rebuild and not any(mirror.has_begun() for mirror in self._mirrors):
                wait = LOOK  # importing MLflow takes seconds that the start of the trials needs more
                continue
            # After a failure wait longer, so that a server that is down is not hammered.
            wait = INTERVAL if self._try(final=False) else min(max(wait, INTERVAL) * 2, 30.0)
        while not (done := self._try(final=True)) and not self._hopeless:
            if time.monotonic() + RETRY >= self._heard + self._patience:
                break
            time.sleep(RETRY)
        self._complete = done and not self.troubles

    def _try(self, *, final: bool) -> bool:
        """Look at everything once; return whether the store was there for all of it."""
        self.problem, self._hopeless = None, False
        try:
            client = self._connect()
            while self._to_rebuild:
                self._to_rebuild[0].rebuild(client, self._step)
                del self._to_rebuild[0]
        except Exception as error:
            self._note(error)
            return False
        for mirror in self._mirrors:
            try:
                mirror.sync(client, final=final, on_step=self._step)
            except Exception as error:
                self._note(error)
                if not _answers(client):
                    break  # else it is this study that it does not take: the others are not held back
        return self.problem is None

    def _note(self, error: Exception) -> None:
        self._hopeless = isinstance(error, ImportError)  # the data base's driver is not installed
        if self.problem is None:
            self.problem = f"{type(error).__name__}: {redacted(str(error)).strip().partition(chr(10))[0][:200]}"
            log.info("tracking store %s not reached: %s", redacted(self.uri), self.problem)

    def _connect(self) -> MlflowClient:
        if self._client is None:
            try:
                with collector.paused():  # MLflow's imports and the making of its data base: a quarter less
                    self._client = connect(self.uri)
            finally:
                self._asked = True
        return self._client


def _answers(client: MlflowClient) -> bool:
    try:
        client.search_experiments(max_results=1)
    except Exception:
        return False
    return True


def connect(uri: str) -> MlflowClient:
    """Return a client that is quiet, and that gives up on a silent server in seconds: the mirror itself tries again."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what they raise says the same, once
    if is_database(uri):
        import mlflow.store.db.utils

        mlflow.store.db.utils.MAX_RETRY_COUNT = 1  # else it tries ten times, over 100 s, before it says a word
    _make_database(uri)
    return MlflowClient(uri)


def _make_database(uri: str) -> None:
    """Create a local database under another name and rename it: MLflow cannot open a half-created one."""
    from mlflow import MlflowClient
    from sqlalchemy.engine import make_url

    name = make_url(uri).database if uri.startswith("sqlite:") else None
    if not name or Path(name).exists():
        return
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(path.parent)
    partial = scratch_path(path)
    partial.unlink(missing_ok=True)
    partial.touch()  # with the user's umask: SQLite would keep the database and its journal from a group
    try:
        MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
        os.link(partial, path)  # fails if another process was faster
    except FileExistsError:
        pass
    finally:
        partial.unlink(missing_ok=True)
