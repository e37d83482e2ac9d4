"""The style and type checks that a change must pass, as tests, so that one command runs everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sys.executable).parent


def check(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


def test_ruff_finds_nothing() -> None:
    check(SCRIPTS / "ruff", "check", ".")


def test_code_is_formatted() -> None:
    check(SCRIPTS / "ruff", "format", "--check", ".")


def test_imports_go_one_way() -> None:
    check(SCRIPTS / "lint-imports")


@pytest.mark.slow
def test_types_are_right() -> None:
    check(SCRIPTS / "mypy")
