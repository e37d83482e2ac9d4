"""The faults: each does something bad to a sweep that is running, and says what it did."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from far.data.sharing.leftovers import PREFIX, READERS
from far.registry import Registry
from far.store.atomic import read_json
from orchestrator.chaos.site import Server
from orchestrator.store.store import Store, is_held


@dataclass(frozen=True)
class Running:
    """A sweep that is running.

    Attributes:
        driver: its process.
        command: how it was started.
        environment: of the driver.
        workspace: folder that it was started in.
        store: its store.
        random: the source of every choice.
        server: the tracking server that it logs to.
    """

    driver: subprocess.Popen[bytes]
    command: list[str]
    environment: dict[str, str]
    workspace: Path
    store: Store
    random: random.Random
    server: Server

    def trials(self) -> list[int]:
        """Return the processes that are writing a trial now."""
        found = []
        for key in sorted(self.store.keys()):
            lock = self.store.paths(key).lock
            pid = (read_json(lock) or {}).get("pid") if is_held(lock) else None
            if isinstance(pid, int) and pid != self.driver.pid:
                found.append(pid)
        return found

    def is_alive(self) -> bool:
        """Return whether the driver runs."""
        return self.driver.poll() is None


Fault = Callable[[Running], str | None]
"""Does something bad; returns what it did, or None if there was nothing to do it to."""

FAULTS: Registry[Fault] = Registry("fault")


@FAULTS.register("worker killed")
def kill_worker(running: Running) -> str | None:
    """End a trial's process with kill -9, wherever it is in its epoch."""
    return _kill(running.random.choice(running.trials() or [0]))


@FAULTS.register("driver killed")
def kill_driver(running: Running) -> str | None:
    """End the driver with kill -9; its workers outlive it."""
    return _kill(running.driver.pid)


@FAULTS.register("killed while writing a checkpoint")
def kill_in_checkpoint(running: Running) -> str | None:
    """Wait for a checkpoint that is being written, and end its process with kill -9."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and running.is_alive():
        for partial in running.store.trials.glob("*/checkpoints/*.partial"):
            pid = (read_json(running.store.paths(partial.parent.parent.name).lock) or {}).get("pid")
            if isinstance(pid, int):
                return _kill(pid)
        time.sleep(0.001)
    return None


@FAULTS.register("node lost")
def kill_node(running: Running) -> str | None:
    """End Ray's node manager with kill -9."""
    return _kill(next((child.pid for child in _descendants(running.driver.pid) if _name(child) == "raylet"), 0))


@FAULTS.register("killed before its first attempt")
def kill_newborn(running: Running) -> str | None:
    """End a trial's process with kill -9, and the one that is started in its place before it holds the trial's lock."""
    before = _workers(running)
    if not before or kill_worker(running) is None:
        return None
    deadline = time.monotonic() + 15.0
    while time.monotonic() < deadline and running.is_alive():
        for pid in _workers(running) - before:
            if pid not in running.trials():
                return _kill(pid)
        time.sleep(0.005)
    return None


def _workers(running: Running) -> set[int]:
    """Return the processes of Ray that serve trials, or are about to."""
    titles = ("ray::TrialTrainable", "ray::ResourceTrainable")
    return {child.pid for child in _descendants(running.driver.pid) if _command(child)[0].startswith(titles)}


@FAULTS.register("control service killed")
def kill_control(running: Running) -> str | None:
    """End Ray's control service with kill -9."""
    return _kill(next((child.pid for child in _descendants(running.driver.pid) if _name(child) == "gcs_server"), 0))


@FAULTS.register("search journal torn")
def tear_journal(running: Running) -> str | None:
    """End the driver with kill -9 and cut the last line of its search's journal, as a power cut does."""
    for path in sorted(running.store.root.glob("studies/*/search.journal")):
        said = kill_driver(running)
        running.driver.wait()
        lines = path.read_bytes().splitlines(keepends=True)
        if not lines:
            return said
        with path.open("r+b") as journal:
            journal.truncate(path.stat().st_size - running.random.randint(1, max(1, len(lines[-1]) - 1)))
        return f"{said}, {path.name} cut to {path.stat().st_size} bytes"
    return None


@FAULTS.register("interrupted")
def interrupt(running: Running) -> str | None:
    """Press Ctrl-C."""
    return _kill(running.driver.pid, signal.SIGINT)


@FAULTS.register("terminated")
def terminate(running: Running) -> str | None:
    """Ask the driver to end, as a batch system does."""
    return _kill(running.driver.pid, signal.SIGTERM)


@FAULTS.register("worker stalled")
def stall(running: Running) -> str | None:
    """Stop a trial's process for two seconds."""
    pid = running.random.choice(running.trials() or [0])
    said = _kill(pid, signal.SIGSTOP)
    if said:
        time.sleep(2.0)
        _kill(pid, signal.SIGCONT)
    return said


@FAULTS.register("reader killed")
def kill_reader(running: Running) -> str | None:
    """End one of the processes that share clips with kill -9, and with it what it had begun to decode for others."""
    return _kill(running.random.choice(_sharing(running) or [0]))


@FAULTS.register("reader stalled")
def stall_reader(running: Running) -> str | None:
    """Stop one of the processes that share clips for some seconds, whatever the others are waiting for."""
    pid, seconds = running.random.choice(_sharing(running) or [0]), running.random.uniform(0.5, 12.0)
    if (said := _kill(pid, signal.SIGSTOP)) is None:
        return None
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.driver.wait(seconds)
    _kill(pid, signal.SIGCONT)
    return f"{said} for {seconds:.1f} s"


@FAULTS.register("decoder killed")
def kill_decoder(running: Running) -> str | None:
    """End the decoding process of a trial that shares clips with kill -9."""
    decoders = [
        child.pid for pid in _sharing(running) for child in _descendants(pid) if DECODER in " ".join(_command(child))
    ]
    return _kill(running.random.choice(decoders or [0]))


SHARING = ("reader killed", "reader stalled", "decoder killed")
"""Faults that strike trials which share clips at that moment."""
DECODER = "far.data.decoding.worker"
"""What a decoding process is started as."""


def _sharing(running: Running) -> list[int]:
    """Return the processes that hold a place among the readers of a window, next to others."""
    readers: dict[Path, set[int]] = defaultdict(set)
    for process in _descendants(running.driver.pid):
        for window in _windows(process.pid):
            readers[window].add(process.pid)
    return sorted({pid for pids in readers.values() if len(pids) > 1 for pid in pids})


def _windows(pid: int) -> set[Path]:
    """Return the windows in which a process holds a place (``far.data.sharing``)."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                file = descriptor.readlink()
                if file.parent.name == READERS and file.parent.parent.name.startswith(PREFIX):
                    found.add(file.parent.parent)
    return found


@FAULTS.register("tracking server down")
def stop_server(running: Running) -> str | None:
    """End the tracking server with kill -9; it comes back after up to a minute."""
    if not running.server.is_up():
        return None
    seconds = running.random.uniform(5.0, 60.0)
    running.server.stop_for(seconds)
    return f"for {seconds:.0f} s"


@FAULTS.register("SQLite locked")
def lock_database(running: Running) -> str | None:
    """Hold the lock of the tracking server's data base for some seconds."""
    path = running.server.database
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(running.random.uniform(1.0, 6.0))
        connection.rollback()
        return "held for some seconds"
    return None


@FAULTS.register("second driver")
def second_driver(running: Running) -> str | None:
    """Start the same command again; it must refuse, and do no harm."""
    second = subprocess.run(
        running.command, cwd=running.workspace, env=running.environment, capture_output=True, timeout=300
    )
    return f"exit {second.returncode}"


def _descendants(pid: int) -> list[psutil.Process]:
    """Return what a process has started, and what that has, as far as it still lives."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return ""


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline() or [""]
    return [""]


def _kill(pid: int, number: signal.Signals = signal.SIGKILL) -> str | None:
    if pid <= 0:
        return None
    try:
        os.kill(pid, number)
    except OSError:
        return None
    return f"{number.name} to process {pid}"
