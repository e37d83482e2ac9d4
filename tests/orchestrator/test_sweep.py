"""``farlab sweep`` as a user meets it: exit codes, plain output, clean stops, and going on."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.chaos.invariants import finished_marks, leftovers, run_again, shared_memory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
LINE = re.compile(r"small \(profile demo\): .*|\[\d+:\d\d\] (one|two|three), seed 0  .*|\d/3 trials finished")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files, with a short name, as Ray needs it."""
    with tempfile.TemporaryDirectory(prefix="t") as made:
        yield Path(made)


def test_a_sweep_on_ray_is_what_it_is_in_process(lab: Any, undisturbed: Any, scratch: Path) -> None:
    memory = shared_memory()
    done = lab.run("study.yaml", TMPDIR=str(scratch))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if not LINE.fullmatch(line)] == []
    assert done.stderr == ""
    assert lab.wrong(undisturbed) == []
    assert not (shared_memory() - memory)
    assert [path for path in scratch.iterdir() if not path.name.startswith("torchinductor")] == []
    before = finished_marks(lab.store)
    again = lab.call("study.yaml")
    assert (again.returncode, "3 done, 0 to run" in again.stdout) == (0, True)
    assert run_again(before, lab.store) == []


def test_signals_stop_it_cleanly_and_the_same_command_goes_on(
    lab: Any, undisturbed: Any, wait: Callable[..., Any]
) -> None:
    from mlflow import MlflowClient

    for number, again in ((signal.SIGINT, False), (signal.SIGTERM, True)):
        seen = lab.epochs()
        process = lab.start("study.yaml")
        wait(lambda seen=seen, process=process: lab.epochs() > seen or process.poll() is not None)
        process.send_signal(number)
        while again and process.poll() is None:  # somebody has no patience
            time.sleep(1.0)
            process.send_signal(number)
        stopped = lab.finish(process, timeout=60)
        assert stopped.returncode == 130
        assert "run the same command again" in stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert lab.wrong(lab) == []  # nothing is left, and no run of MLflow is RUNNING
    client = MlflowClient(lab.uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    assert {r.info.status for r in client.search_runs([experiment.experiment_id])} <= {"KILLED", "FINISHED"}
    before = finished_marks(lab.store)
    done = lab.sweep()
    assert done.returncode == 0, done.stderr
    assert run_again(before, lab.store) == []
    assert lab.wrong(undisturbed) == []


def test_one_signal_after_another_stops_it_as_one_does(lab: Any, wait: Callable[..., Any]) -> None:
    process = lab.start("study.yaml", "recipe.epochs=300")
    wait(lambda: lab.epochs() >= 1)
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    stopped = lab.finish(process, timeout=30)
    assert stopped.returncode == 130
    assert "run the same command again" in stopped.stderr
    assert leftovers(lab.mark, lab.directory) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_signal_while_the_data_are_generated(number: signal.Signals, lab: Any, wait: Callable[..., Any]) -> None:
    data = lab.directory / "data"
    (lab.directory / "farlab.toml").write_text(f"data_root = '{data}'\n")
    process = lab.start("study.yaml", "data.demo.train_clips=4000")
    wait(lambda: list(data.glob(".demo-*.partial/train/*.mp4")))
    process.send_signal(number)
    stopped = lab.finish(process, timeout=90)
    assert stopped.returncode == (-9 if number == signal.SIGKILL else 130)
    assert leftovers(lab.mark, lab.directory) == []
    if number != signal.SIGKILL:
        assert "run the same command again" in stopped.stderr
    else:  # the next command clears it away
        assert lab.sweep("recipe.epochs=1", "recipe.lr=0.1").returncode == 0
    assert list(data.glob(".demo-*")) == []


def test_a_terminal_that_is_gone_does_not_stop_it(lab: Any, undisturbed: Any) -> None:
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "farlab", "sweep", "study.yaml", "--executor", "local"],
        cwd=lab.directory, env=lab.environment, stdin=there, stdout=there, stderr=there, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    os.close(there)
    os.read(here, 1)
    os.close(here)  # what is written now fails
    assert process.wait(200) == 0
    assert lab.wrong(undisturbed) == []


NO_LOCKS = """
#define _GNU_SOURCE
#include <errno.h>
int flock(int descriptor, int operation) { errno = ENOSYS; return -1; }
"""


def test_a_file_system_without_locks(lab: Any, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make such a file system with")
    library = tmp_path / "nolocks.so"
    (tmp_path / "nolocks.c").write_text(NO_LOCKS)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "nolocks.c"], check=True)
    done = lab.run("study.yaml", "--executor", "local", LD_PRELOAD=str(library))
    assert done.returncode == 2
    assert "has no file locks (flock)" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_sweep_writes_follows_the_umask(lab: Any) -> None:
    (lab.store.root / "mlflow.db").unlink()  # the sweep makes it
    before = os.umask(0o002)
    try:
        done = lab.run("study.yaml", "recipe.epochs=1", "recipe.lr=0.1")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    closed = [p for p in lab.store.root.rglob("*") if p.is_file() and not p.stat().st_mode & 0o020]
    assert closed == []


def test_bad_rows_are_told_and_the_others_finish(make_lab: Callable[..., Any], undisturbed: Any) -> None:
    study = (undisturbed.directory / "study.yaml").read_text()
    lab = make_lab(
        study.replace("three: {recipe.lr: 2.0e-3}", "three: {recipe.lr: 1.0e+30}\n  four: {recipe.precision: fp16}")
    )
    done = lab.sweep()
    assert done.returncode == 3
    assert "three, seed 0: diverged (diverged): the loss is" in done.stderr
    assert "four, seed 0: failed (configuration): recipe.precision: fp16" in done.stderr
    assert "2/4 trials finished" in done.stdout
    assert lab.wrong(lab) == []


def test_single_trials_are_cancelled_while_the_others_go_on(
    make_lab: Callable[..., Any], undisturbed: Any, wait: Callable[..., Any]
) -> None:
    study = (undisturbed.directory / "study.yaml").read_text()
    lab = make_lab(study.replace("one: {}", "one: {recipe.epochs: 15}"))
    process = lab.start("study.yaml", "--executor", "local")
    wait(lambda: lab.epochs() >= 1)
    done = lab.call("small", "--row", "one", "--row", "three", command="cancel")  # one runs, three waits
    assert (done.returncode, done.stdout.count("is asked to stop")) == (0, 2)
    stopped = lab.finish(process)
    assert stopped.returncode == 3
    assert "1/3 trials finished" in stopped.stdout
    assert lab.wrong(lab) == []
    told = json.loads(lab.call("--json", command="status").stdout)[0]["trials"]
    assert {t["row"]: (t["state"], t["error"]) for t in told} == {
        "one": ("interrupted", "cancelled"),
        "two": ("finished", None),
        "three": ("interrupted", "cancelled"),
    }
    done = lab.sweep()
    assert done.returncode == 0, done.stderr
    (key,) = [t["key"] for t in told if t["row"] == "one"]
    attempts = lab.store.trial(key)["attempts"]
    assert [attempt.get("ended") for attempt in attempts] == ["cancelled", None]
    assert attempts[1]["epoch"] >= 1  # from its checkpoint


def test_a_budget_that_is_used_up_is_exit_code_4(lab: Any) -> None:
    done = lab.sweep("--budget", "1trials")
    assert done.returncode == 4, done.stderr
    assert "budget reached: 2 trials are left" in done.stderr
    assert len(finished_marks(lab.store)) == 1


def test_a_second_driver_is_refused_by_name(lab: Any) -> None:
    with lab.store.lock_study("small"):
        done = lab.run("study.yaml", "--executor", "local")
    assert done.returncode == 2
    assert "study 'small' is in use by process" in done.stderr
