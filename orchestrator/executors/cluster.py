"""A Ray cluster for the length of a sweep: an existing one, or one on this machine that is gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OBJECT_STORE_BYTES = 80 * 2**20
"""Trials exchange nothing but keys through Ray; its default would reserve a third of the memory."""

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
    "RAY_TRAIN_V2_ENABLED": "1",
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
def cluster(address: str | None, scratch: Path) -> Iterator[dict[str, float]]:
    """Connect to Ray and yield the cluster's resources; a cluster started here is stopped and its files removed.

    Args:
        address: of an existing cluster, or None.
        scratch: where a log of the driver's side goes.
    """
    import ray

    scratch.mkdir(parents=True, exist_ok=True)

    _log_to_file(scratch / "ray.log")
    local: dict[str, Any] = (
        {"num_cpus": os.cpu_count(), "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        if address is None
        else {}
    )
    context: Any = ray.init(
        address=address or "local", log_to_driver=False, configure_logging=False, namespace="farlab", **local
    )
    session = Path(context.address_info["session_dir"])
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
        if address is None:
            shutil.rmtree(session, ignore_errors=True)


def _log_to_file(path: Path) -> None:
    handler = logging.FileHandler(path)
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
