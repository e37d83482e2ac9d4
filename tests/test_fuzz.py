"""A hundred cases of ``python -m tests.fuzz``, some of them as processes; the rest are run by that command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine is no fault
def test_no_input_gets_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--cases", "100", "--processes", "5", "--seed", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr[-6000:]
    assert "100 cases (5 processes), seed 0: 0 faults" in done.stdout
