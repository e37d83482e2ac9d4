"""The beginning and the end of a cluster that a sweep started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from far.errors import LostError


def test_daemons_that_do_not_come_up_in_time_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray says it, after half a minute on a machine that has much else to do."""
    import ray

    from orchestrator.executors.ray.cluster import cluster

    def too_slow(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because the GCS is overloaded.")

    monkeypatch.setattr(ray, "init", too_slow)
    said = "Ray did not start on this machine: The current node timed out .* run the same command again"
    with pytest.raises(LostError, match=said), cluster(None, tmp_path):
        pass


LITTERING = """
import sys, threading, time
from pathlib import Path
from orchestrator.executors.ray.cluster import cluster, prepare_environment

prepare_environment(None)
import ray

with cluster(None, Path(sys.argv[1])):
    references = [ray.put(number) for number in range(7_000)]

    def litter():  # as Tune does, whose references are in cycles; any thread's allocations start the search for them
        while True:
            cycle = [references.pop()]
            cycle.append(cycle)
            del cycle
            [[] for _ in range(2000)]
            time.sleep(0.0005)

    threading.Thread(target=litter, daemon=True).start()
    time.sleep(0.3)
"""


@pytest.mark.slow
def test_garbage_that_is_found_while_ray_goes_down_does_not_end_the_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LITTERING, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


LISTENERS = """
import os, sys
from pathlib import Path
from orchestrator.executors.ray.cluster import cluster, prepare_environment

prepare_environment(None)
import psutil

with cluster(None, Path(sys.argv[1])) as scratch:
    me = psutil.Process()
    mine = {me.pid, *(child.pid for child in me.children(recursive=True))}
    for connection in psutil.net_connections("tcp"):
        if connection.status == "LISTEN" and connection.pid in mine:
            print("listens", connection.laddr.ip)
    print("mode", oct(scratch.stat().st_mode & 0o777))
    for child in me.children(recursive=True):
        print("runs", *child.cmdline()[:3])
"""


@pytest.mark.slow
def test_ray_on_this_machine_is_for_this_machine_and_this_user(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LISTENERS, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    addresses = {line.split()[1].removeprefix("::ffff:") for line in said if line.startswith("listens")}
    assert addresses == {"127.0.0.1"}
    assert "mode 0o700" in said
    runs = [line for line in said if line.startswith("runs")]
    assert any("raylet" in line for line in runs)
    superfluous = ("dashboard.py", "monitor.py", "default_worker.py", "IDLE")  # nothing is to be run yet
    assert not [line for line in runs if any(name in line for name in superfluous)]
