"""The driver's look at what other machines write into a store at a URL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from orchestrator.store.remote import Replica, ReplicaError
from orchestrator.store.store import Store

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 10.0
"""Between two looks."""


class Follower:
    """A thread of the driver that fetches what other machines write while a sweep runs.

    Args:
        replica: the URL.
        store: this machine's copy.
        keys: returns the trials that are still open.
    """

    def __init__(self, replica: Replica, store: Store, keys: Callable[[], Iterable[str]]) -> None:
        self._replica, self._store, self._keys = replica, store, keys
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="replica", daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._over.wait(FOLLOW_SECONDS):
            try:
                self._replica.follow(self._store, list(self._keys()))
            except ReplicaError as error:
                log.info("%s", error)
