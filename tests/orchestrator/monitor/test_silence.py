"""What a person reads when nothing happens, and when an attempt has ended badly."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from far.store.atomic import write_json
from far.store.lock import FileLock
from far.store.paths import TrialPaths
from far.train.heartbeat import Heartbeat, KeptWarnings
from orchestrator.cli.console import PlainConsole, make_console
from orchestrator.monitor.live import Progress, Silence, Watched


@pytest.fixture
def watched(tmp_path: Path) -> Any:
    def make(key: str, row: str) -> Watched:
        paths = TrialPaths(tmp_path / key)
        write_json(paths.trial, {"key": key, "attempts": []})
        return Watched(row, 0, 3, paths.directory)

    return make


def test_nothing_for_a_while_is_a_line_about_every_trial(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.monitor.live.SILENCE", 0.0)
    one, two, three = watched("k1", "[one]"), watched("k2", "two"), watched("k3", "three")
    silence = Silence(lambda: {"k1": "waits for 1 x 3 CPUs (free: 1 CPUs)"})
    trials = [one, two, three]
    with FileLock(TrialPaths(two.directory).lock, "trial k2"):
        for trial in trials:
            trial.look()
        assert silence.look(trials) is None  # their first sight is news
        said = silence.look(trials)
        assert said is not None
        assert "no progress for 0:00: [one], seed 0 waits for 1 x 3 CPUs (free: 1 CPUs); two, seed 0 is at" in said
        assert "three" not in said  # queued: nobody has begun it, and nothing keeps it
        write_json(TrialPaths(one.directory).progress, {"phase": "building", "epoch": 0, "done": 0, "total": 0})
        one.look()
        assert silence.look(trials) is None
        assert silence.line == ""


def test_a_lost_process_is_said_once(watched: Any) -> None:
    trial = watched("k", "one")
    paths = TrialPaths(trial.directory)
    out = io.StringIO()
    with Progress([trial], make_console(out)):
        write_json(paths.trial, {"key": "k", "attempts": [{"lost": "it was killed"}]})
        while "lost" not in out.getvalue():
            time.sleep(0.05)
        write_json(paths.trial, {"key": "k", "attempts": [{"lost": "it was killed"}, {"ended": "cancelled"}]})
    assert out.getvalue().count("one, seed 0  its process was lost: it was killed") == 1
    assert "cancelled" not in out.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_warning_of_trials_whose_output_is_not_seen_is_said_once(
    watched: Any, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    kept, logger = KeptWarnings(), logging.getLogger("far")
    monkeypatch.setattr("far.train.heartbeat.KEPT", kept)
    monkeypatch.setattr(logger, "handlers", [kept])
    out, trials = io.StringIO(), [watched("k1", "one"), watched("k2", "two")]
    console = PlainConsole(file=out, width=100, height=30, force_terminal=True) if terminal else make_console(out)
    with Progress(trials, console) as progress:
        logging.getLogger("far.data").warning("%d videos are decoded every time", 5)
        logging.getLogger("far.data").info("nothing of note")
        for trial in trials:
            logging.getLogger("far.data").warning("%d videos are decoded every time", 5)
            Heartbeat(TrialPaths(trial.directory), 3).beat("train", 0, 1, 1)
        deadline = time.monotonic() + 20
        while "every time" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    said = progress._summary() if terminal else out.getvalue()  # a terminal is drawn again and again
    assert said.count("warning: 5 videos are decoded every time") == 1
    assert "nothing of note" not in out.getvalue()
