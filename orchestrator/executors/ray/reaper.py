"""Ends every process of a sweep's own Ray cluster, even if the driver was killed with ``kill -9``.

All of them inherit a mark in their environment, whoever adopted them. Ray's agents write their title over it at times;
they are known by that title and by the files of the cluster's folder that they hold open. A watchdog (this file, run as
a script: it imports nothing but the standard library) holds the other end of a pipe; when the driver is gone, or says
so, it ends what belongs to the cluster and removes its files, and the memory that its trials shared.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

MARK = "FARLAB_SWEEP_MARK"
"""Environment variable that every process of one sweep's cluster carries."""
TITLE = b"ray::"
"""How a process's title begins that Ray renamed."""
GRACE = 2.0
"""Seconds between asking a process to end and ending it."""
PREFIX = "farlab-"
"""How the name of a cluster's folder begins."""
ALONE = ("-I", "-S")
"""Options of an interpreter that imports the standard library alone."""
OWNERS = "owners.json"
"""File in it that names the mark, the driver and the watchdog."""


class Reaper:
    """The owner of a cluster's processes and temporary files.

    Args:
        parent: folder to make the cluster's own folder in.

    Attributes:
        mark: what to put into the environment before the cluster is started.
        scratch: the cluster's folder, for this user alone; it is removed with everything in it.
        ray_folder: a folder in it for Ray, which opens to everybody what it is given.

    Raises:
        ConfigError: no folder can be made there.
    """

    def __init__(self, parent: Path) -> None:
        clear_abandoned(parent)
        self.mark = uuid.uuid4().hex
        try:
            self.scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self.ray_folder = self.scratch / "r"
            self.ray_folder.mkdir(mode=0o700)
        except OSError as error:
            from far.errors import ConfigError  # noqa: PLC0415  (the watchdog runs with the standard library alone)

            why = error.strerror or str(error)
            raise ConfigError(
                f"{parent} cannot hold Ray's temporary files ({why}); name another folder", key="TMPDIR"
            ) from None
        from far.data.sharing import leftovers  # noqa: PLC0415  (see above)

        # A session of its own: neither Ctrl-C nor a closed terminal reaches it.
        self._watchdog = subprocess.Popen(
            [sys.executable, *ALONE, __file__, self.mark, str(self.scratch), leftovers.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        from far.store.atomic import machine  # noqa: PLC0415  (see above)

        owners = {
            "mark": self.mark,
            "machine": machine(),
            "owners": [_identity(pid) for pid in (os.getpid(), self._watchdog.pid)],
        }
        with contextlib.suppress(OSError):
            (self.scratch / OWNERS).write_text(json.dumps(owners))

    def reap(self) -> None:
        """End what is left and dismiss the watchdog."""
        from far.data.sharing import leftovers  # noqa: PLC0415  (see above)

        end_all(self.mark, str(self.scratch))
        shutil.rmtree(self.scratch, ignore_errors=True)
        leftovers.clear()
        self._watchdog.kill()
        self._watchdog.communicate()


def clear_abandoned(parent: Path) -> None:
    """End the clusters in a folder whose driver and watchdog are both gone, and remove what they left."""
    from far.data.sharing import leftovers  # noqa: PLC0415  (see above)
    from far.store.atomic import machine  # noqa: PLC0415  (see above)

    for scratch in parent.glob(f"{PREFIX}*"):
        try:
            if scratch.is_symlink() or scratch.stat().st_uid != os.getuid():
                continue
            record = json.loads((scratch / OWNERS).read_bytes())
            if record["machine"] != machine():
                continue  # whose processes cannot be seen from here
            mark, owners = str(record["mark"]), [tuple(owner) for owner in record["owners"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # being made at this moment, or not ours
        if not any(owner == _identity(owner[0]) for owner in owners):
            end_all(mark, str(scratch))
            shutil.rmtree(scratch, ignore_errors=True)
    leftovers.clear()


def _identity(pid: int) -> tuple[int, str]:
    """Return a process's number and when it was started, which together no other process has; empty if it is gone."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return pid, ""
    return (pid, "") if after_name[0] == "Z" else (pid, after_name[19])


def marked(mark: str, scratch: str) -> list[int]:
    """Return the processes that carry a mark, and those of Ray that write into a folder; this one excepted."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                if wanted in environment.split(b"\0") or _writes_into(entry, scratch):
                    found.append(int(entry.name))
            except OSError:
                continue  # it has gone, or is another user's
    return found


def _writes_into(process: Path, folder: str) -> bool:
    """Return whether a process that Ray named has files of a folder open, removed ones included."""
    if not (process / "cmdline").read_bytes().startswith(TITLE):
        return False  # opened for reading, e.g. a log viewer
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).startswith(f"{folder}/"):
                return True
    return False


def end_all(mark: str, scratch: str) -> None:
    """End every process of a cluster: ask, wait, then insist, also on those that are born meanwhile."""
    asked: set[int] = set()
    started, quiet = time.monotonic(), 0
    while quiet < 2 and time.monotonic() - started < GRACE + 10.0:
        left = marked(mark, scratch)
        quiet = 0 if left else quiet + 1  # a process shows no environment in the moment in which it is started
        for pid in left:
            if time.monotonic() - started > GRACE:
                _signal(pid, signal.SIGKILL)
            elif pid not in asked:
                asked.add(pid)
                _signal(pid, signal.SIGTERM)
        time.sleep(0.05)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def main() -> None:
    """Wait for the end of standard input, which the driver's death brings about, then reap."""
    sys.stdin.buffer.read()
    mark, scratch, leftovers = sys.argv[1:]
    end_all(mark, scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    subprocess.run([sys.executable, *ALONE, leftovers], stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
