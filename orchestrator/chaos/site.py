"""What the sweeps of a chaos run stand on, made to be broken: a tracking server.

The undisturbed sweep stands on the same, so that the two are compared on equal terms.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from far.errors import FarError
from far.interpreter import child_environment, python_command
from orchestrator.chaos.invariants import MARK
from orchestrator.tracking.pages import SERVER_ENVIRONMENT

START_TIMEOUT = 120.0
"""Seconds that the tracking server may take to answer."""


class Server:
    """A real MLflow server on loopback, on a data base of its own.

    Args:
        directory: where its data base and artifacts lie.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.uri, self.database = f"http://127.0.0.1:{self.port}", directory / "server.db"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._closed = False

    def start(self) -> None:
        """Start it, if it is down, and wait until it answers.

        Raises:
            FarError: it does not come up.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._launch()
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_up():
            if time.monotonic() > deadline:
                raise FarError(f"the MLflow server did not come up within {START_TIMEOUT:.0f} s")
            time.sleep(0.1)

    def is_up(self) -> bool:
        """Return whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it with kill -9, workers included."""
        with self._lock:
            if self._process is not None:
                with contextlib.suppress(OSError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
                self._process = None

    def stop_for(self, seconds: float) -> None:
        """End it, and start it again after ``seconds`` without waiting for that."""
        self.stop()
        self._timer = threading.Timer(seconds, self._launch)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """End it for good."""
        self._closed = True  # a timer may be about to start it
        if self._timer is not None:
            self._timer.cancel()
        self.stop()

    def _launch(self) -> None:
        with self._lock:
            if self._process is None and not self._closed:
                self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        environment = child_environment(**SERVER_ENVIRONMENT)
        environment.pop(MARK, None)  # not a sweep's child
        return subprocess.Popen(
            python_command(
                "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{self.database}",
                "--artifacts-destination", str(self._directory / "artifacts"),
            ),
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
