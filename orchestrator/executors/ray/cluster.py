"""A Ray cluster for the length of a sweep: an existing one, or one on this machine that is gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from far.cpus import whole_cpus
from far.errors import ConfigError, LostError
from far.interpreter import child_environment
from orchestrator.executors import collector
from orchestrator.executors.ray.lean import held_port, lean_start
from orchestrator.executors.ray.reaper import MARK, Reaper
from orchestrator.executors.signals import handlers_restored, ignore_stops, signals_ignored

OBJECT_STORE_BYTES = 80 * 2**20
"""Trials exchange nothing but keys through Ray; its default would reserve a third of the memory."""
LONGEST_PARENT = 24
"""Characters; a socket's path may have 107, of which Ray's own part takes most."""
DAEMONS = {"raylet": "Ray's node manager (raylet)", "gcs_server": "Ray's control service (gcs_server)"}
"""Processes of Ray that a sweep on this machine cannot do without, by name."""
CONTROL_PATIENCE = 40.0
"""Seconds that a cluster's control service may be away; after 60 Ray's core ends the driver."""
LOCAL_CONTROL_PATIENCE = 20
"""Seconds that a call waits for the control service of a cluster on this machine, which is not restarted."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard copies: the store has the numbers
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C belongs to the sweep
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never read
    "TUNE_PLACEMENT_GROUP_RECON_INTERVAL": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",  # how many start at once is decided by whoever feeds Tune
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_worker_niceness": "0",  # Ray's 15 starves trials on a machine where anything else runs
}


def prepare_environment(address: str | None) -> None:
    """Set what Ray reads while it is imported; call this before the first ``import ray``."""
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    if address is None:
        # Token authentication is on by default; a token in the environment keeps Ray from writing one into the home.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # No Python runs in a thread that waits for the control service: one that has died must not hold it for long.
        os.environ.setdefault("RAY_gcs_server_request_timeout_seconds", str(LOCAL_CONTROL_PATIENCE))


@contextlib.contextmanager
def cluster(address: str | None, logs: Path) -> Iterator[Path | None]:
    """Connect to Ray; yield a folder that goes with a cluster started here, None on an existing one.

    A cluster started here listens on loopback; it is stopped at the end and its files are removed.

    Every process of a cluster started here carries a mark in its environment. A small watchdog process outlives this
    one for as long as it takes to end them all, so that not even ``kill -9`` leaves anything behind.

    Args:
        address: of an existing cluster, or None.
        logs: where a log of the driver's side goes.

    Raises:
        LostError: Ray's daemons did not come up in time.
    """
    import ray
    from ray.job_config import JobConfig

    _log_to_file(logs / "ray.log")
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    # Ray puts the driver's working directory first on its workers' path, except for a job of its client.
    options["job_config"] = JobConfig(ray_namespace="farlab", _client_job=True, _py_driver_sys_path=_code_paths())
    reaper = Reaper(_scratch_parent()) if address is None else None
    with held_port() as port:
        try:
            with handlers_restored():  # ray.init puts its own handlers in place
                if reaper is None:
                    ray.init(address=address, **options)
                else:
                    # What everything that Ray starts here inherits.
                    with _environment({**child_environment(), MARK: reaper.mark}), _on_loopback(), lean_start(port):
                        _start(reaper.ray_folder, options)
            yield None if reaper is None else reaper.scratch
        finally:
            with signals_ignored():
                _shut_down()
                if reaper is not None:
                    reaper.reap()


def _start(folder: Path, options: dict[str, Any]) -> None:
    """Start Ray on this machine.

    Args:
        folder: for its files.
        options: of ``ray.init``.

    Raises:
        LostError: it did not come up in time.
    """
    import ray

    try:
        ray.init(
            address="local",
            _temp_dir=str(folder),
            num_cpus=whole_cpus(),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            **options,
        )
    except Exception as error:
        if type(error) not in (Exception, RuntimeError):  # Ray's own, of daemons that did not come up
            raise
        why = str(error).strip().partition("\n")[0]
        raise LostError(
            f"Ray did not start on this machine: {why} Where much else runs, it may the next time: "
            "run the same command again"
        ) from error


def _code_paths() -> list[str]:
    """Return where workers find this package: nothing if it is installed, which they are too, else its checkout."""
    home = str(Path(__file__).resolve().parents[3])
    return [] if Path(home).name in ("site-packages", "dist-packages") else [home]


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for this machine's address, and listen nowhere else, as it does on a laptop."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _shut_down() -> None:
    """Disconnect from Ray, deaf to signals.

    Its core puts SIGTERM back to the system's default while it goes down, so they are ignored again and again. And in
    that time the finaliser of an object reference ends the whole process with exit code 1: in whichever thread the
    search for garbage happens to find one that Tune has left in a cycle.
    """
    import ray

    with collector.paused():
        thread = threading.Thread(target=ray.shutdown, name="ray-shutdown")
        thread.start()
        while thread.is_alive():
            ignore_stops()
            thread.join(0.002)
        ignore_stops()


@contextlib.contextmanager
def watched_daemons(address: str | None, on_death: Callable[[str], None]) -> Iterator[None]:
    """Call a function, from another thread, with the name of a daemon of Ray's that this sweep cannot do without.

    Tune would wait for a dead node manager forever, and Ray's core ends this process, without a clean-up, when the
    control service (GCS) has not answered for a minute. On a cluster that is not ours only the latter matters: when a
    node of it dies, trials start again elsewhere.

    Args:
        address: as of ``cluster``.
        on_death: called at most once.
    """
    over = threading.Event()
    dead = _dead_child() if address is None else _silent_control()

    def look() -> None:
        while not over.wait(1.0):
            if name := dead():
                on_death(name)
                return

    thread = threading.Thread(target=look, name="daemon-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _dead_child() -> Callable[[], str | None]:
    """Return a check for which daemon that this process started has died."""
    daemons = [(child, DAEMONS[child.name()]) for child in psutil.Process().children() if child.name() in DAEMONS]

    def dead() -> str | None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process, name in daemons:
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    return name
            return None
        return "one of Ray's daemons"

    return dead


def _silent_control() -> Callable[[], str | None]:
    """Return a check that a cluster's control service takes no connections, with time for a restart."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    since: float | None = None

    def silent() -> str | None:
        nonlocal since
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
            since = None
        except OSError:
            since = since or time.monotonic()
            if time.monotonic() - since > CONTROL_PATIENCE:
                return f"the control service of the Ray cluster ({host}:{port})"
        return None

    return silent


def _scratch_parent() -> Path:
    """Return the folder for temporary files, or ``/tmp`` where its name is too long for the names of sockets in it.

    Raises:
        ConfigError: neither will do.
    """
    usual = Path(tempfile.gettempdir())
    if len(str(usual)) < LONGEST_PARENT:
        return usual
    if os.access("/tmp", os.W_OK | os.X_OK):
        return Path("/tmp")
    raise ConfigError(
        f"Ray's sockets need a writable folder with a path of fewer than {LONGEST_PARENT} characters; {usual} has "
        f"{len(str(usual))}, and /tmp cannot be written; name a shorter one",
        key="TMPDIR",
    )


class _QuietHandler(logging.FileHandler):
    """A log that cannot be written is no reason to print tracebacks over what a person reads."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


def _log_to_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler: logging.Handler
    try:
        handler = _QuietHandler(path)
    except OSError:  # a full disk is no reason not to start
        handler = logging.NullHandler()
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
