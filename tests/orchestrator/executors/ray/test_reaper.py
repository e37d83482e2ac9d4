"""What is ended with a cluster, and what is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from far.data.sharing.leftovers import PREFIX, READERS
from far.errors import ConfigError
from orchestrator.chaos.invariants import leftovers
from orchestrator.executors.ray.reaper import MARK, Reaper, _identity


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start an idle process under a title, with a file open and an environment."""
    started = []

    def start(title: str, file: Path, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [title, "60"], executable="/bin/sleep", stdout=file.open("ab"), env=environment, cwd=file.parent
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_what_belongs_to_a_cluster_is_ended_with_it(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaper = Reaper(tmp_path)
    elsewhere = tmp_path / "elsewhere.txt"
    marked = start("anything", elsewhere, **{MARK: reaper.mark})
    renamed = start("ray::DashboardAgent", reaper.scratch / "agent.log")
    reader = start("tail", reaper.scratch / "agent.log")
    others = start("ray::DashboardAgent", elsewhere, **{MARK: "another"})
    window = tmp_path / f"{PREFIX}of-its-trials"
    (window / READERS).mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reaper.reap()
    assert not window.exists()
    assert marked.wait(60) == renamed.wait(60) == -signal.SIGTERM
    assert reader.poll() is None
    assert others.poll() is None
    assert not reaper.scratch.exists()


def test_the_watchdog_ends_them_for_a_driver_that_was_killed(
    start: Callable[..., Any], tmp_path: Path, wait: Callable[..., Any]
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from orchestrator.executors.ray.reaper import Reaper;"
        "print(Reaper(Path(sys.argv[1])).scratch, flush=True); time.sleep(60)"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert driver.stdout is not None
    scratch = Path(driver.stdout.readline().strip())
    renamed = start("ray::RuntimeEnvAgent", scratch / "agent.log")
    window = tmp_path / f"{PREFIX}of-its-trials"
    (window / READERS).mkdir(parents=True)
    driver.kill()
    driver.wait()
    assert renamed.wait(20) == -signal.SIGTERM
    wait(lambda: not window.exists())


def test_a_process_that_lost_its_mark_is_seen_as_left_over(start: Callable[..., Any], tmp_path: Path) -> None:
    process = start("ray::DashboardAgent", tmp_path / "log")
    assert [text.split()[1] for text in leftovers("no such mark", tmp_path, patience=0.0)] == [str(process.pid)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert leftovers("no such mark", tmp_path) == []


def test_what_a_dead_driver_and_a_dead_watchdog_left_is_cleared(
    start: Callable[..., Any], tmp_path: Path, wait: Callable[..., Any]
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from orchestrator.executors.ray.reaper import Reaper;"
        "r = Reaper(Path(sys.argv[1])); print(r.scratch, r._watchdog.pid, flush=True); time.sleep(60)"
    )
    driver = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    scratch, watchdog = driver.stdout.readline().split()
    renamed = start("ray::RuntimeEnvAgent", Path(scratch) / "agent.log")
    alive = Reaper(tmp_path)
    assert Path(scratch).exists()  # while its driver lives
    os.kill(int(watchdog), signal.SIGKILL)
    driver.kill()
    driver.wait()
    wait(lambda: not _identity(int(watchdog))[1])  # a signal takes a moment; while it lives, clearing is its business
    Reaper(tmp_path).reap()
    assert renamed.wait(60) == -signal.SIGTERM
    assert not Path(scratch).exists()
    assert alive.scratch.exists()
    alive.reap()


def test_the_folder_of_a_cluster_is_closed_to_others(tmp_path: Path) -> None:
    reaper = Reaper(tmp_path)
    reaper.ray_folder.chmod(0o777)  # as Ray does
    assert reaper.scratch.stat().st_mode & 0o077 == 0
    reaper.reap()
    with pytest.raises(ConfigError, match="TMPDIR"):
        Reaper(tmp_path / "missing")
