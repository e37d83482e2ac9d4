"""A request to stop reaches the command wherever it meets the interpreter."""

import subprocess
import sys

import pytest

SWALLOWED = """
import os, signal, time
from orchestrator.cli.failures import quiet_hooks
from orchestrator.executors.signals import interrupt_on_stops

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.01)

quiet_hooks(print)
interrupt_on_stops()
try:
    Finalised()
    print("swallowed", flush=True)
    time.sleep(20)
    print("lost")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_that_a_finaliser_swallows_is_repeated(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(name=name)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["swallowed", "interrupted"], done.stderr
