"""What the sweeps of a chaos run stand on, made to be broken: a tracking server, a small disk, a clock.

The undisturbed sweep stands on the same, so that the two are compared on equal terms. What a machine does not allow
(mounting a file system, compiling a few lines of C) is left out, and the report says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

from far.errors import FarError
from far.interpreter import child_environment, python_command
from orchestrator.chaos.invariants import MARK
from orchestrator.tracking.mirror import SERVER_ENVIRONMENT

DISK_BYTES = 512 * 2**20
"""Room that a sweep has for its store."""
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
        """End it, and start it again after so many seconds; do not wait for that."""
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


class Disk:
    """A file system of its own, small enough to be filled.

    Args:
        place: where it is mounted; the folder is made.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        options = f"size={DISK_BYTES},mode=700"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], capture_output=True)
        self.is_mounted = done.returncode == 0

    def fill_for(self, seconds: float) -> None:
        """Leave no room for so many seconds."""
        filler = self.place / ".filler"
        deadline = time.monotonic() + seconds
        try:
            with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
                os.posix_fallocate(stream.fileno(), 0, int(0.9 * shutil.disk_usage(self.place).free))
                stream.seek(0, os.SEEK_END)
                while time.monotonic() < deadline:
                    stream.write(bytes(2**16))  # until it raises
            time.sleep(max(0.0, deadline - time.monotonic()))
        finally:
            filler.unlink(missing_ok=True)

    def protect_for(self, seconds: float) -> bool:
        """Let nobody open a file for writing for so many seconds; return whether that could be done.

        A second mount of the same folder: the file system itself stays writable while anybody has a file of it open.
        """
        if not self.is_mounted:
            return False
        place = str(self.place)
        if subprocess.run(["mount", "--bind", place, place], capture_output=True).returncode:
            return False
        try:
            options = ["mount", "-o", "remount,ro,bind", place]
            works = subprocess.run(options, capture_output=True).returncode == 0
            if works:
                time.sleep(seconds)
            return works
        finally:
            subprocess.run(["umount", "-l", place], capture_output=True)

    def close(self) -> None:
        """Unmount it."""
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.place)], capture_output=True)
            self.is_mounted = False


class Clock:
    """The wall clock of everything that is started with ``environment``; it can be put back while that runs.

    Args:
        directory: where the library and the file that it reads are made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._offset, library = directory / "offset", directory / "clock.so"
        self._offset.write_bytes(struct.pack("l", 0))
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        source = Path(__file__).with_name("clock.c")
        command = [compiler or "cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        self.works = compiler is not None and subprocess.run(command, capture_output=True).returncode == 0
        self.environment = {"LD_PRELOAD": str(library), "FARLAB_CHAOS_CLOCK": str(self._offset)} if self.works else {}

    def jump(self, seconds: int) -> None:
        """Move the clock by so many seconds; negative: back."""
        with self._offset.open("r+b") as stream:
            (now,) = struct.unpack("l", stream.read())
            stream.seek(0)
            stream.write(struct.pack("l", now + seconds))
