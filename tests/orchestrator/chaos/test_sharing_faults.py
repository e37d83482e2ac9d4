"""Faults that strike trials which share clips, and what must not be left of these."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from far.data.sharing import leftovers
from far.data.sharing.leftovers import PREFIX, READERS
from far.errors import FarError
from orchestrator.chaos import run as chaos_run
from orchestrator.chaos.faults import FAULTS, SHARING, Running
from orchestrator.chaos.invariants import windows_left
from orchestrator.chaos.run import Chaos
from orchestrator.store.store import Store

READER = "import os, sys, time; kept = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); time.sleep(60)"
DRIVER = f"""
import subprocess, sys, time
for path in sys.argv[1:]:
    subprocess.Popen([sys.executable, "-S", "-c", {READER!r}, path, "far.data.decoding.worker"])
time.sleep(60)
"""


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start a driver whose children hold files."""
    drivers: list[subprocess.Popen[bytes]] = []

    def start(*files: Path) -> Running:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        drivers.append(subprocess.Popen([sys.executable, "-S", "-c", DRIVER, *files], start_new_session=True))
        nothing = cast(Any, None)
        return Running(drivers[-1], [], {}, tmp_path, Store(tmp_path), random.Random(0), nothing)

    yield start
    for driver in drivers:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


def test_only_those_who_share_are_struck(
    drive: Callable[..., Running], tmp_path: Path, wait: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{PREFIX}{name}" / READERS / reader for name, reader in (("a", "1"), ("b", "1"), ("b", "2"))]
    running = drive(*files, tmp_path / f"{PREFIX}b" / "clips" / "3")
    wait(lambda: all(map(Path.exists, files)))

    def alive() -> dict[str, psutil.Process]:
        children = psutil.Process(running.driver.pid).children()
        return {
            "/".join(Path(child.cmdline()[-2]).parts[-3:]).removeprefix(PREFIX): child
            for child in children
            if child.status() != psutil.STATUS_ZOMBIE
        }

    monkeypatch.setattr(running.random, "uniform", lambda low, high: 0.1)
    assert "for 0.1 s" in (FAULTS["reader stalled"](running) or "")
    assert all(child.status() != psutil.STATUS_STOPPED for child in alive().values())
    assert FAULTS["decoder killed"](running) is None  # the readers have started none
    assert "SIGKILL" in (FAULTS["reader killed"](running) or "")
    wait(lambda: len(alive()) == 3)
    left = {name for name in alive() if READERS in name}
    assert len(left) == 2 and f"a/{READERS}/1" in left
    assert [FAULTS[name](running) for name in SHARING] == [None] * 3  # nobody shares any more


def test_a_window_that_nobody_reads_is_a_violation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "places", lambda: [tmp_path])
    (tmp_path / f"{PREFIX}before").mkdir()
    before = leftovers.abandoned()
    assert windows_left(before, patience=0.0) == []
    (tmp_path / f"{PREFIX}after").mkdir()
    assert windows_left(before, patience=0.0) == [f"shared memory is left: {tmp_path / f'{PREFIX}after'}"]


def test_faults_that_never_find_anything_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FarError, match="does not allow: reader killed"):
        Chaos([], tmp_path / "off", data_root=tmp_path, faults=["reader killed"], shares=False).run(1)
    monkeypatch.setattr(chaos_run.Server, "start", lambda server: None)
    monkeypatch.setattr(Chaos, "_round", lambda *arguments: None)
    quick = Chaos([], tmp_path / "short", data_root=tmp_path, faults=["reader killed"])
    quick.command = [sys.executable, "-S", "-c", ""]
    with pytest.raises(FarError, match=r"3 sweeps in a row .* anything to strike at \(reader killed\); shorten"):
        quick.run(1)
