"""The end of a cluster that a sweep started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LITTERING = """
import sys, threading, time
from pathlib import Path
from orchestrator.executors.cluster import cluster, prepare_environment

prepare_environment(None)
import ray

with cluster(None, Path(sys.argv[1])):
    references = [ray.put(number) for number in range(20_000)]

    def litter():  # as Tune does, whose references are in cycles; any thread's allocations start the search for them
        while True:
            for _ in range(3):
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
