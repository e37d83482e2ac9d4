"""A Ray cluster for the length of a sweep: an existing one, or one on this machine that is gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.executors.reaper import MARK, Reaper
from orchestrator.garbage import gc_paused
from orchestrator.signals import restored, unheard

OBJECT_STORE_BYTES = 80 * 2**20
"""Trials exchange nothing but keys through Ray; its default would reserve a third of the memory."""
LONGEST_PARENT = 24
"""Characters; a socket's path may have 107, of which Ray's own part takes most."""

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


@contextlib.contextmanager
def cluster(address: str | None, logs: Path) -> Iterator[tuple[dict[str, float], Path | None]]:
    """Connect to Ray; yield the cluster's resources, and a folder that goes with a cluster started here.

    A cluster started here is stopped in the end and its files are removed.

    Every process of a cluster started here carries a mark in its environment. A small guardian process outlives this
    one for as long as it takes to end them all, so that not even ``kill -9`` leaves anything behind.

    Args:
        address: of an existing cluster, or None.
        logs: where a log of the driver's side goes.
    """
    import ray

    _log_to_file(logs / "ray.log")
    reaper = Reaper(_scratch_parent()) if address is None else None
    try:
        with restored():  # ray.init puts its own handlers in place
            if reaper is None:
                ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="farlab")
            else:
                os.environ[MARK] = reaper.mark  # inherited by everything that Ray starts
                ray.init(
                    address="local",
                    _temp_dir=str(reaper.scratch),
                    log_to_driver=False,
                    configure_logging=False,
                    namespace="farlab",
                    num_cpus=len(os.sched_getaffinity(0)),  # what a container or a job allows, not what there is
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                )
        yield ray.cluster_resources(), None if reaper is None else reaper.scratch
    finally:
        # While Ray's core goes down, the finaliser of an object reference ends the whole process with exit code 1: in
        # whichever thread the search for garbage happens to find one that Tune has left in a cycle.
        with unheard(), gc_paused():
            ray.shutdown()
            if reaper is not None:
                os.environ.pop(MARK, None)
                reaper.reap()


@contextlib.contextmanager
def watched_node(on_death: Callable[[], None]) -> Iterator[None]:
    """Call a function, from another thread, if this process's own node manager dies: Tune would wait for it forever."""
    import psutil

    over = threading.Event()
    nodes = [child for child in psutil.Process().children() if child.name() == "raylet"]

    def look() -> None:
        while not over.wait(1.0):
            if any(not node.is_running() or node.status() == psutil.STATUS_ZOMBIE for node in nodes):
                on_death()
                return

    thread = threading.Thread(target=look, name="node-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _scratch_parent() -> Path:
    """Return the folder for temporary files, if sockets in it have names that are short enough for the system."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) < LONGEST_PARENT else Path("/tmp")


def _log_to_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler: logging.Handler
    try:
        handler = logging.FileHandler(path)
    except OSError:  # a full disk is no reason not to start
        handler = logging.NullHandler()
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
