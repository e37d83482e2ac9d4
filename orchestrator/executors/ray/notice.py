"""Notice that a sweep stops, or that a node is about to go, for the processes that train.

Signals reach one machine, and not every cluster sends them. So each process that trains asks the cluster's control
service every other second for two things: whether the sweep's driver is about to stop, and whether this node is being
drained, as Ray does with a spot instance that was given notice. Either way the trial writes a checkpoint. The driver
gives its trials ``PATIENCE`` for that before it takes the cluster, or their processes, down.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection

import ray
from ray.experimental import internal_kv

from far.train.interruption import Interruption

POLL = 2.0
"""Seconds between two questions."""
PATIENCE = 20.0
"""Seconds that a sweep which is stopped waits for its trials' checkpoints."""
NAMESPACE = "farlab"


class Notice:
    """Looks, in a thread, whether a process that trains has to end soon.

    Args:
        interruption: what is requested then.
    """

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._over = threading.Event()
        self._key: str | None = None
        threading.Thread(target=self._look, name="notice", daemon=True).start()

    def busy(self, key: str | None) -> None:
        """Tell the driver which trial this process would have to save; None: no longer any."""
        with contextlib.suppress(Exception):  # then the driver does not wait for it
            if self._key is not None:
                internal_kv._internal_kv_del(_busy(self._key), namespace=NAMESPACE)
            self._key = key
            if key is not None:
                internal_kv._internal_kv_put(_busy(key), b"", namespace=NAMESPACE)

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self.busy(None)

    def _look(self) -> None:
        while not self._over.wait(POLL):
            has_work = self._interruption.is_heard  # then whoever does it says so when all is written
            with contextlib.suppress(Exception):  # the control service is away: handled elsewhere
                if internal_kv._internal_kv_exists(_stop(), namespace=NAMESPACE):
                    self._interruption.request("the sweep stops")
                elif _is_draining():
                    self._interruption.request("its node is being drained")
            if self._interruption:
                if not has_work:
                    self.busy(None)
                return


def save_running(keys: Collection[str]) -> bool:
    """Ask the trials of this driver that train to write checkpoints, and wait for them.

    Args:
        keys: of the trials that run.

    Returns:
        Whether all of them have done so within ``PATIENCE``.
    """
    deadline = time.monotonic() + PATIENCE
    waiting = _waiting(keys)
    if waiting:
        internal_kv._internal_kv_put(_stop(), b"", namespace=NAMESPACE)
    while waiting and time.monotonic() < deadline:
        time.sleep(0.05)
        waiting = _waiting(keys)
    return not waiting


def _waiting(keys: Collection[str]) -> list[str]:
    return [key for key in keys if internal_kv._internal_kv_exists(_busy(key), namespace=NAMESPACE)]


def _stop() -> str:
    return f"stop/{_sweep()}"


def _busy(key: str) -> str:
    return f"busy/{_sweep()}/{key}"


def _sweep() -> str:
    """Return what names this driver and its processes on a cluster."""
    return str(ray.get_runtime_context().get_job_id())


def _is_draining() -> bool:
    from ray._private.state import state  # noqa: PLC0415  (there is no public way to ask; versions differ)

    return ray.get_runtime_context().get_node_id() in state.get_draining_nodes()
