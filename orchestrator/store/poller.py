"""The driver's look at what other machines write into a store at a URL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from orchestrator.store.remote import RemoteStore, RemoteStoreError
from orchestrator.store.store import Store

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 10.0
"""Between two looks."""


class Poller:
    """A thread of the driver that fetches what other machines write while a sweep runs.

    Args:
        remote_store: the URL.
        store: this machine's copy.
        keys: returns the trials that are still open.
    """

    def __init__(self, remote_store: RemoteStore, store: Store, keys: Callable[[], Iterable[str]]) -> None:
        self._remote_store, self._store, self._keys = remote_store, store, keys
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="remote-store-poller", daemon=True)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._over.wait(FOLLOW_SECONDS):
            try:
                self._remote_store.follow(self._store, list(self._keys()))
            except RemoteStoreError as error:
                log.info("%s", error)
