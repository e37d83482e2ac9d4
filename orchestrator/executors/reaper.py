"""Ends every process of a sweep's own Ray cluster, even if the driver was killed with ``kill -9``.

All of them inherit a mark in their environment, whatever they call themselves and whoever adopted them. A guardian
(this file, run as a script: it imports nothing but the standard library) holds the other end of a pipe; when the
driver is gone, or says so, it ends what carries the mark and removes the session's files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "FARLAB_SWEEP_MARK"
"""Environment variable that every process of one sweep's cluster carries."""
GRACE = 2.0
"""Seconds between asking a process to end and ending it."""


class Reaper:
    """The owner of a cluster's processes.

    Attributes:
        mark: what to put into the environment before the cluster is started.
    """

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._session: Path | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._start([])

    def guard(self, session: Path) -> None:
        """Tell the guardian which files belong to the cluster."""
        self._session = session
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.write(os.fsencode(session) + b"\n")
            self._guardian.stdin.flush()

    def reap(self) -> None:
        """End what is left and dismiss the guardian."""
        end_all(self.mark)
        if self._session is not None:
            remove(self._session)
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.wait()
            if self._guardian.stdin is not None:
                self._guardian.stdin.close()

    def _start(self, arguments: list[str]) -> None:
        # A session of its own: neither Ctrl-C nor a closed terminal reaches it.
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, self.mark, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def marked(mark: str) -> list[int]:
    """Return the processes that carry a mark, this one excepted."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue  # it has gone, or is somebody else's
            if wanted in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def end_all(mark: str) -> None:
    """End every process that carries a mark: ask, wait, then insist."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 10.0)):
        deadline = time.monotonic() + patience
        left = marked(mark)
        for pid in left:
            _signal(pid, number)
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = marked(mark)
        if not left:
            return


def remove(session: Path) -> None:
    """Remove a Ray session's files, and the link to it if it is the latest."""
    latest = session.parent / "session_latest"
    if latest.is_symlink() and latest.readlink().name == session.name:
        latest.unlink(missing_ok=True)
    shutil.rmtree(session, ignore_errors=True)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def main() -> None:
    """Wait for the end of standard input, then reap; every line is a session's folder."""
    sessions = [Path(os.fsdecode(line.rstrip(b"\n"))) for line in sys.stdin.buffer]
    end_all(sys.argv[1])
    for session in sessions:
        remove(session)


if __name__ == "__main__":
    main()
