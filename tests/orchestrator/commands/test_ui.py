"""``farlab ui``: it serves what it says, ends without a word of its own, and never names another's server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import farlab


def test_a_port_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert farlab.run(["ui", "--tracking-uri", "sqlite:///x.db", "--port", port]) == 2
    said = capsys.readouterr()
    assert f"--port: {port} is taken" in said.err and said.out == ""
    assert farlab.run(["ui", "--tracking-uri", "sqlite:///x.db", "--host", "203.0.113.7"]) == 2
    assert "--host: this machine has no address" in capsys.readouterr().err


@pytest.mark.parametrize("uri", ["foo", "x://y", "sqlite", "http://", "://", "file:///x", "javascript:alert(1)"])
@pytest.mark.parametrize("command", [["ui"], ["sync"], ["sweep", "-n", "head_ratio"]])
def test_an_address_that_is_no_tracking_stores(
    uri: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert farlab.run([*command, "--tracking-uri", uri]) == 2
    assert "--tracking-uri: " in capsys.readouterr().err
    (tmp_path / "farlab.toml").write_text(f"tracking_uri = '{uri}'\n")
    assert farlab.run(command) == 2
    assert "farlab.toml:1: tracking_uri: " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_ends_quietly(number: int, tmp_path: Path) -> None:
    (tmp_path / "mlflow.py").write_text("raise SystemExit('a stranger\\'s file')\n")
    command = [sys.executable, "-m", "farlab", "ui", "--port", "0", "--tracking-uri", f"sqlite:///{tmp_path / 'm.db'}"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    deadline = time.monotonic() + 120
    while True:
        try:
            assert urllib.request.urlopen(address, timeout=5).status == 200
            break
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=2)
