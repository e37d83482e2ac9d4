"""``farlab ui``: it serves what it says, ends without a word of its own, and never names another's server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import farlab
from far.store.atomic import append_json_line, write_json
from far.store.paths import TrialPaths
from orchestrator.tracking.base import TRACKERS
from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.pages import pages
from orchestrator.tracking.tracked import Sweep, TrackedTrial


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


@pytest.fixture
def runs(tmp_path: Path) -> str:
    """The address of a data base with the runs of a study: two trials in one sweep."""
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    trials = [TrackedTrial(f"key{n}", "a row with a long name", n, tmp_path / "trials" / f"key{n}") for n in range(2)]
    for trial in trials:
        paths, end = TrialPaths(trial.directory), "2026-01-01T00:01:00+00:00"
        attempts = [{"started_at": "2026-01-01T00:00:00+00:00"}]
        write_json(paths.trial, {"key": trial.key, "config": {"model": {"depth": 12}}, "attempts": attempts})
        append_json_line(paths.metrics, {"epoch": 0, "time": end, "train_loss": 2.0, "val_top1": 40.0, "seconds": 60.0})
        metrics = {"top1": 50.0, "top5": 90.0, "loss": 1.5}
        result = {"key": trial.key, "state": "finished", "metrics": metrics, "flops": 1000, "params": 10}
        write_json(paths.result, {**result, "finished_at": end})
    tags = {"farlab.study": "a_study", "farlab.store": "s" * 32}
    sweep = Sweep("a_study", "demo", trials, tmp_path / "state.json", tmp_path / "mlartifacts", tags)
    assert Mirror(uri, [sweep]).close()
    return uri


def seen_in_chromium(address: str, *shown: str) -> str:
    """Return the text of a page once it shows all of these texts; the test is skipped where there is no Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*options, "--disable-component-update", "--disable-sync"]
        )
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(address)
            for text in shown:
                page.get_by_text(text, exact=True).first.wait_for(timeout=120_000)
            return str(page.locator("body").inner_text())
        finally:
            browser.close()


@pytest.mark.slow
def test_it_serves_the_comparison_and_ends_quietly(runs: str, tmp_path: Path) -> None:
    (tmp_path / "mlflow.py").write_text("raise SystemExit('a stranger\\'s file')\n")
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    command = [sys.executable, "-m", "farlab", "ui", "--port", "0", "--tracking-uri", runs, "--open"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONSAFEPATH": "1", "BROWSER": f"{browser} %s"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        base, _, place = address.partition("/#/experiments/1/runs?")
        assert "workflowType=machine_learning" in place and urllib.request.urlopen(base, timeout=60).status == 200
        rows = [f"s{seed} · a row with a long name" for seed in range(2)]
        page = seen_in_chromium(address, *rows, "train", "val", "test", "cost")
        assert "2 matching runs" in page and "sweep demo" not in page
        assert opened.read_text().strip() == address
    finally:
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    with pytest.raises(OSError):
        urllib.request.urlopen(base, timeout=2)


def test_addresses_of_one_study_and_of_several() -> None:
    base, plain = "http://bob:s3cret@host:5000/", {"farlab.study": "x"}
    [one] = pages(base, [("0", "Default", {}), ("7", "x", plain)], [])
    assert one.startswith("http://host:5000/#/experiments/7/runs?") and "s3cret" not in one
    both = pages(base, [("0", "Default", {}), ("8", "own", {}), ("7", "x", plain)], ["own"])
    assert [line.split()[0] for line in both] == ["own", "x"]
    assert pages(base, [("0", "Default", {})], []) == []
    assert pages(base, [(str(n), f"s{n}", plain) for n in range(50)], []) == []


def test_a_tracker_without_a_page_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TRACKERS._entries, "lines", lambda uri, sweeps, rebuild: None)
    for command in (["ui"], ["promote", "0"]):
        assert farlab.run([*command, "--tracking-uri", "lines:///x"]) == 2
        assert "lines:///x is not MLflow's" in capsys.readouterr().err
