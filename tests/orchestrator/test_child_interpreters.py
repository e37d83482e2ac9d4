"""Whose code runs: files in the working directory that are named like ours, or like the standard library's, never."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from far.interpreter import child_environment, python_command, search_path

NAMES = (
    "far", "orchestrator", "reports", "studies", "statistics", "random", "typing", "json", "numpy", "torch", "ray",
    "mlflow", "optuna", "av", "decord", "deepspeed", "sitecustomize", "usercustomize",
)  # fmt: skip


@pytest.fixture
def stranger(lab: Any) -> Iterator[Any]:
    """A workspace full of somebody's modules; none of them has run in the end."""
    ran = lab.directory / "ran.txt"
    for name in NAMES:
        (lab.directory / f"{name}.py").write_text(
            f"import os, sys\nos.write(os.open({str(ran)!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND), "
            f"('{name} ' + ' '.join(sys.argv) + '\\n').encode())\nraise SystemExit('a module of somebody')\n"
        )
    package = lab.directory / "far"
    package.mkdir()
    shutil.copy(lab.directory / "far.py", package / "__init__.py")
    yield lab
    assert not ran.exists(), ran.read_text()


def test_a_child_has_the_path_of_its_parent_less_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "statistics.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", f":.:{tmp_path / 'other'}")
    assert str(tmp_path) not in search_path()
    imports = "import statistics, far"
    code = f"import subprocess, sys; {imports}; subprocess.run([sys.executable, '-c', {imports!r}], check=True)"
    subprocess.run(python_command("-c", code), env=child_environment(), check=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # on purpose
    assert str(tmp_path) in search_path()


@pytest.mark.slow
def test_a_sweep_on_ray(stranger: Any, undisturbed: Any) -> None:
    done = stranger.run("study.yaml")
    assert done.returncode == 0, done.stderr
    assert stranger.wrong(undisturbed) == []


@pytest.mark.slow
def test_commands_that_start_children(stranger: Any, tiny_data: Path) -> None:
    many = "data.demo.train_clips=90"  # enough for several processes
    assert stranger.run("study.yaml", many, command="plan").returncode == 0
    probed = stranger.run("study.yaml", "--probe", "recipe.lr=0.002", command="plan")
    assert probed.returncode == 0, probed.stderr
    folder = stranger.directory / "clips"
    for split in ("train", "val"):
        for number, clip in enumerate(sorted(next(tiny_data.glob("demo-*")).glob(f"{split}/*.mp4"))[:4]):
            target = folder / split / f"class{number % 2}" / clip.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, target)
    prepared = stranger.run("prepare", "folder", str(folder), command="data")
    assert prepared.returncode == 0, prepared.stderr
    assert "8 videos" in prepared.stdout + prepared.stderr
    checked = stranger.run("check", "data.source=clips", command="data")
    assert "crashed" not in checked.stdout + checked.stderr


@pytest.mark.slow
def test_the_page_of_the_tracking_server(stranger: Any, wait: Callable[..., Any]) -> None:
    page = stranger.start("--port", "0", command="ui")
    try:
        address = page.stdout.readline().strip()

        def answers() -> bool:
            assert page.poll() is None, page.stderr.read()
            try:
                return urllib.request.urlopen(address, timeout=5).status == 200
            except OSError:
                return False

        wait(answers, every=0.3)
        page.send_signal(signal.SIGINT)
        done = stranger.finish(page, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    finally:
        page.kill()
