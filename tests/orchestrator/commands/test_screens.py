"""What is shown while trials run fits the terminal, with the summary where nothing cuts it off."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from far.store.atomic import write_json
from orchestrator.cli.console import PlainConsole
from orchestrator.cli.fitting import fitting
from orchestrator.commands.status import _screen
from orchestrator.monitor.live import Progress, Watched
from orchestrator.monitor.status import StudyStatus, statuses
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store, TrialState
from orchestrator.study import load_study

ROWS = 60
STUDY = "study: many\nrows:\n" + "".join(f"  'row {i:02d} [/x]': {{recipe.lr: {i + 1}.0e-4}}\n" for i in range(ROWS))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store in which one trial finished, one failed, one runs and the others wait."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "many.yaml").write_text(STUDY)
    store = Store(tmp_path / "runs")
    plan = make_plan(load_study("many.yaml", seeds=2), store, manifest_hash=lambda data: "d")
    write_lockfile(plan, store)
    for trial in plan.trials:
        store.write_trial(trial.key, {"key": trial.key, "attempts": []})
    keys = [trial.key for trial in plan.trials]
    write_json(
        store.paths(keys[50]).result, {"key": keys[50], "state": "finished", "metrics": {"top1": 50.0, "top5": 90.0}}
    )
    error = {"kind": "data", "message": "no such video"}
    write_json(store.paths(keys[90]).result, {"key": keys[90], "state": "failed", "metrics": {}, "error": error})
    return store


def lines(renderable: object, width: int, height: int) -> list[str]:
    console = PlainConsole(file=io.StringIO(), width=width, height=height, force_terminal=True, markup=False)
    console.print(renderable)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 10), (200, 300)])
def test_status_that_is_watched(store: Store, width: int, height: int) -> None:
    found = statuses(store)
    with store.lock_trial(found[0].trials[77].key):
        (study,) = statuses(store)
        assert study.trials[77].state == "running"
        shown = lines(_screen([study], "workspace here", width, height), width, height)
    text = "\n".join(shown)
    assert len(shown) <= height
    assert shown[0] == "workspace here" and "117 queued" in shown[1]
    assert "running" in text and "failed" in text
    assert ("more: " in text) == (height < 100)


def test_many_studies_have_their_summaries_at_least(store: Store) -> None:
    (study,) = statuses(store)
    several = [StudyStatus(f"study{i}", "demo", "", "now", None, study.trials) for i in range(30)]
    shown = lines(_screen(several, "workspace here", 200, 40), 200, 40)
    assert all(any(f"study{i}:" in line for line in shown[:32]) for i in range(30))
    assert len(shown) <= 40


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (70, 12)])
def test_the_sweeps_own_table(store: Store, width: int, height: int) -> None:
    (study,) = statuses(store)
    watched = [Watched(t.row, t.seed, t.epochs, store.paths(t.key).directory) for t in study.trials]
    console = PlainConsole(file=io.StringIO(), width=width, height=height, force_terminal=True, markup=False)
    progress = Progress(watched, console, notes=lambda: "tracking store not reached")
    watched[100].beat = {"phase": "train", "epoch": 0, "done": 1, "total": 2}
    shown = lines(progress._screen(), width, height)
    assert len(shown) <= height
    assert shown[0].startswith("2/120 trials") and "tracking store not reached" in shown[1]
    text = "\n".join(shown)
    assert "failed" in text and "fini" in text and "train" in text
    assert watched[100].row in text, "who is at work is shown, wherever in the plan"
    assert "more: " in text and "waiting" in text


def test_what_does_not_fit_is_counted() -> None:
    shown, others = fitting(range(10), 4, lambda n: -n, lambda n: "odd" if n % 2 else "even")
    assert shown == [7, 8, 9] and others == "and 7 more: 4 even, 3 odd"
    assert fitting(range(4), 4, lambda n: n, str) == ([0, 1, 2, 3], None)


def test_on_a_real_terminal(store: Store, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
    command = [sys.executable, "-m", "farlab", "status", "--watch"]
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    shown, deadline = b"", time.monotonic() + 60
    while b"more: " not in shown and time.monotonic() < deadline:
        if select.select([leader], [], [], 1)[0]:
            shown += os.read(leader, 65536)
    process.send_signal(signal.SIGINT)
    os.close(leader)
    assert process.wait(timeout=30) == 130
    text = shown.decode()
    assert text.index("118 queued") < text.index("row 45 [/x]") < text.index("more: ")


@pytest.mark.parametrize(
    ("attempts", "driven", "state"),
    [([], False, "queued"), ([], True, "queued"), ([{}], False, "interrupted"), ([{}], True, "queued")],
)
def test_what_waits_for_its_turn_is_queued(store: Store, attempts: list, driven: bool, state: TrialState) -> None:
    key = statuses(store)[0].trials[3].key
    store.write_trial(key, {"key": key, "attempts": attempts})
    lock = store.lock_study("many")
    if driven:
        lock.acquire()
    try:
        assert statuses(store)[0].trials[3].state == state
    finally:
        lock.release()
