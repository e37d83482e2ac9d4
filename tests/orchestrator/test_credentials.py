"""Credentials in the addresses of a workspace: used for connecting, and to be found nowhere else."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.chaos.site import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECRET = "s3cret"


def holding(directory: Path) -> list[str]:
    """Return the files that hold the password, but for the one that the user has written."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "farlab.toml"]
    return [str(path) for path in files if SECRET.encode() in path.read_bytes()]


def test_a_tracking_servers_password_is_nowhere(lab: Any, undisturbed: Any, server: Server) -> None:
    shutil.copytree(undisturbed.store.root, lab.store.root, dirs_exist_ok=True)
    uri = server.uri.replace("http://", f"http://bob:{SECRET}@")
    with (lab.directory / "farlab.toml").open("a") as settings:
        settings.write(f"tracking_uri = '{uri}'\n")
    synced = lab.run(command="sync")
    assert synced.returncode == 0, synced.stderr  # it was used
    said = [
        synced,
        lab.call(command="ui"),
        lab.call("--study", "study.yaml", "-f", "html", "-o", "page.html", command="report"),
        lab.call("--study", "study.yaml", "--explain", "one", "top1", command="report"),
        lab.call("--study", "study.yaml", "-f", "json", "--from", "mlflow", command="report"),
    ]
    assert all(done.returncode == 0 for done in said), [done.stderr for done in said]
    assert f"{server.uri}/#/experiments/" in said[3].stdout
    server.stop()
    (lab.store.root / "studies/small/mlflow-demo.json").unlink()  # so that it has something to send
    down = [
        lab.run("--timeout", "1", command="sync"),
        lab.sweep(),
        lab.call("--study", "study.yaml", "--from", "mlflow", command="report"),
    ]
    assert "not up to date" in down[0].stderr and "not up to date" in down[1].stderr
    assert down[2].returncode == 1 and server.uri in down[2].stderr
    assert not [done.args for done in (*said, *down) if SECRET in done.stdout + done.stderr]
    assert holding(lab.directory) == []


def command_lines(pid: int) -> list[str]:
    """Return the command lines of all that a process has started."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(child.cmdline()))
    return found


def test_a_data_bases_password_is_on_no_command_line(lab: Any, wait: Any) -> None:
    uri = f"sqlite:///{lab.directory}/x.db?token={SECRET}"
    process = lab.start("--port", "0", "--tracking-uri", uri, command="ui")
    try:
        lines = wait(lambda: [line for line in command_lines(process.pid) if "mlflow" in line])
        assert not any(SECRET in line for line in lines)
    finally:
        for each in (*psutil.Process(process.pid).children(recursive=True), process):
            each.kill()
        process.communicate()


@pytest.mark.parametrize("store", ["ftp://bob:s3cret@127.0.0.1:1/x", "nosuch://bob:s3cret@host/x"])
def test_a_stores_password_is_in_no_error(store: str, lab: Any) -> None:
    with (lab.directory / "farlab.toml").open("a") as settings:
        settings.write(f"store = '{store}'\n")
    for command in ("status", "sweep"):
        done = lab.run(*(["study.yaml"] if command == "sweep" else []), command=command)
        assert done.returncode == 1, done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert holding(lab.directory) == []
