"""Processes that are lost before their trial trains, or while it does: counted, given a reason, and ended in time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from far.errors import OutOfMemoryError
from far.store.atomic import read_json, write_json
from far.store.paths import TrialPaths
from orchestrator.executors.attempts import losses, reduce_micro_batch, too_often
from orchestrator.executors.base import Job, StopRequest
from orchestrator.executors.ray.losses import Losses, account, reason
from orchestrator.study.schema import RetryConfig

RETRY = "retry: {lost: 1, wait_seconds: 0.1}\n"


@pytest.fixture
def job(tmp_path: Path, tiny_config: Any) -> Job:
    paths = TrialPaths(tmp_path / "trials" / "k")
    write_json(paths.trial, {"key": "k", "config": tiny_config.model_dump(mode="json"), "attempts": [], "before": 0})
    return Job(paths.directory, tmp_path, 1, 1, retry=RetryConfig(lost=1, wait_seconds=0.0))


def test_a_death_before_the_first_attempt_is_an_attempt(job: Job) -> None:
    paths = TrialPaths(job.directory)
    assert not account(job, "Worker exit detail: it was killed. There are some potential root causes. (1)", 0)
    assert [attempt["lost"] for attempt in read_json(paths.trial)["attempts"]] == ["it was killed."]
    assert account(job, "Worker exit detail: it was killed again.", 1)
    result = read_json(paths.result)
    assert (result["state"], result["error"]["kind"], result["starts"]) == ("failed", "lost", 2)
    assert "it was killed again" in result["error"]["message"]
    assert "it was killed again" in paths.log.read_text()


def test_an_attempt_that_was_recorded_is_not_counted_twice(job: Job) -> None:
    paths = TrialPaths(job.directory)
    write_json(paths.trial, {**read_json(paths.trial), "attempts": [{"started_at": "then"}]})
    assert not account(job, "gone", 0)
    assert read_json(paths.trial)["attempts"] == [{"started_at": "then", "lost": "gone"}]


def test_losses_count_as_long_as_the_trial_comes_no_farther(job: Job) -> None:
    places = [(0, 0), (0, 0), (0, 40), (0, 40), (1, 0), (1, 0)]
    attempts = [{"epoch": epoch, "step": step, "lost": "gone"} for epoch, step in places]
    assert [len(losses({"attempts": attempts[:number]})) for number in range(7)] == [0, 1, 2, 1, 2, 1, 2]
    assert too_often({"attempts": attempts[:5]}, job) is None
    assert too_often({"attempts": attempts}, job) is not None
    assert len(losses({"attempts": [{"epoch": 2}, {}, {"epoch": 2}, {"epoch": 3, "ended": "cancelled"}]})) == 0


def test_what_was_mended_is_no_loss(job: Job) -> None:
    paths = TrialPaths(job.directory)
    record = {**read_json(paths.trial), "attempts": [{"ended": "out-of-memory"}]}
    write_json(paths.trial, record)
    assert not account(job, "OutOfMemoryError", 0)
    assert read_json(paths.trial) == record


@pytest.mark.parametrize(("statistics", "smaller"), [(None, 4), (8, 8)])
def test_a_micro_batch_that_is_part_of_the_trial_is_not_halved(job: Job, statistics: int | None, smaller: int) -> None:
    paths = TrialPaths(job.directory)
    record = read_json(paths.trial)
    record["config"]["run"]["micro_batch"] = 8
    identity = {"model": {"statistics_over": statistics} if statistics else {}}
    write_json(paths.trial, {**record, "identity": identity, "attempts": [{"micro_batch": 8}]})
    assert reduce_micro_batch(job, OutOfMemoryError("no room")) == (statistics is None)
    assert read_json(paths.trial)["config"]["run"]["micro_batch"] == smaller


def test_a_process_that_is_free_takes_a_trial_that_no_other_is_being_started_for() -> None:
    class Trial:
        status = "PENDING"

    running, starting, next_, last = Trial(), Trial(), Trial(), Trial()
    running.status = "RUNNING"
    controller = SimpleNamespace(
        get_trials=lambda: [running, starting, next_, last],
        _trial_to_actor={running: "actor 1", starting: "actor 2", next_: "actor 3"},
        _actor_manager=SimpleNamespace(is_actor_started=lambda actor: actor != "actor 3"),
        trial_executor=SimpleNamespace(has_resources_for_trial=lambda trial: True),
    )
    chosen = Losses(StopRequest())
    assert chosen.choose_trial_to_run(controller) is next_
    next_.status = "RUNNING"
    assert chosen.choose_trial_to_run(controller) is last
    last.status = "TERMINATED"
    assert chosen.choose_trial_to_run(controller) is starting  # it is all that is left


def test_reasons_are_one_line() -> None:
    creation = (
        "The actor died because of an error raised in its creation task, ray::TrialTrainable.__init__()\n"
        'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\n'
        "ModuleNotFoundError: No module named 'far'"
    )
    assert reason(RuntimeError(creation)) == "ModuleNotFoundError: No module named 'far'"
    memory = "1 worker(s) were killed due to the node running low on memory. 9 GB used\nOOM kill reason: ..."
    assert reason(memory) == "1 worker(s) were killed due to the node running low on memory. 9 GB used"
    assert len(reason("x" * 10_000)) <= 300


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_that_the_memory_monitor_kills_end_with_its_words(
    make_lab: Callable[..., Any], undisturbed: Any
) -> None:
    study = (undisturbed.directory / "study.yaml").read_text()
    lab = make_lab(study + RETRY)
    done = lab.run("study.yaml", RAY_memory_usage_threshold="0.01")
    assert done.returncode == 3
    told = lab.call(command="status")
    for text in (done.stdout, done.stderr, told.stdout + told.stderr):
        assert "running low on memory" in text
    for key in sorted(lab.store.keys()):
        result = lab.store.result(key)
        assert (result["state"], result["error"]["kind"]) == ("failed", "lost")
        assert "running low on memory" in result["error"]["message"]
        assert result["starts"] == 2
        assert "running low on memory" in lab.store.paths(key).log.read_text()
    again = lab.sweep()  # the memory is there now
    assert again.returncode == 0, again.stderr
    assert lab.wrong(undisturbed) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_process_that_dies_as_soon_as_it_holds_the_lock(
    make_lab: Callable[..., Any], undisturbed: Any, wait: Callable[..., Any]
) -> None:
    study = (undisturbed.directory / "study.yaml").read_text()
    lab = make_lab(study + RETRY)
    process = lab.start("study.yaml", "recipe.lr=0.002")  # one trial
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.002):
            for pid in lab.writers():
                if pid != process.pid:
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        done = lab.finish(process, timeout=120)
    finally:
        over.set()
        killer.join()
    assert done.returncode == 3
    assert "its process was lost 2 times (retry.lost: 1)" in done.stderr
    (key,) = lab.store.keys()
    assert lab.store.result(key)["starts"] == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nodes_that_lack_what_trials_need(
    make_lab: Callable[..., Any], undisturbed: Any, ray_cluster: Callable[..., Any], tmp_path: Path
) -> None:
    import ray

    packages = tmp_path / "packages"  # of the nodes: Ray, and nothing of FARLab's
    packages.mkdir()
    for entry in Path(ray.__file__).parent.parent.iterdir():
        if not entry.name.startswith(("torch", "deepspeed", "farlab", "__editable__")):
            (packages / entry.name).symlink_to(entry)
    base = str(Path(sys.base_prefix) / "bin" / "python3")
    cluster = ray_cluster(python=[base, "-S"], PYTHONPATH=str(packages))
    cluster.add_node(1)
    lab = make_lab((undisturbed.directory / "study.yaml").read_text() + RETRY)
    done = lab.run("study.yaml", "recipe.lr=0.002", "--address", cluster.address)
    assert done.returncode == 3
    assert "its process was lost: ModuleNotFoundError: No module named" in done.stdout
    assert "its process was lost 2 times (retry.lost: 1)" in done.stderr
    (key,) = lab.store.keys()
    assert "ModuleNotFoundError" in lab.store.result(key)["error"]["message"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_trial_that_fits_the_sum_of_the_nodes_and_none_of_them(lab: Any, ray_cluster: Callable[..., Any]) -> None:
    cluster = ray_cluster()
    cluster.add_node(1)
    cluster.add_node(2)
    done = lab.run("study.yaml", "run.cpus=3", "--address", cluster.address, timeout=60)
    assert done.returncode == 2
    assert "run.cpus: trial" in done.stderr
    assert "wants 3 CPUs on one node, the 2 nodes of the cluster have 2 CPUs; 1 CPUs" in done.stderr.replace(
        "1 CPUs; 2 CPUs", "2 CPUs; 1 CPUs"
    )
    assert not lab.store.trials.exists()
    assert lab.store.studies() == []


@pytest.mark.slow
def test_nobody_answers(lab: Any) -> None:
    with socket.socket() as silent:  # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for address, word in (
            (f"127.0.0.1:{port}", "Connection refused"),
            ("ray://127.0.0.1:10001", "Ray's client"),
            ("head-node", "is no address"),
            ("127.0.0.1:0", "is no address"),
        ):
            done = lab.call("study.yaml", "--address", address)
            assert (done.returncode, "Traceback" in done.stderr) == (2, False)
            assert word in done.stderr
        silent.listen()
        done = lab.run("study.yaml", "--address", f"127.0.0.1:{port}", timeout=60)
        assert (done.returncode, "did not answer as one within" in done.stderr) == (2, True)
        silent.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()
        process = lab.start("study.yaml", "--address", f"127.0.0.1:{port}")
        silent.settimeout(60)
        silent.accept()  # it waits for an answer now
        process.send_signal(signal.SIGTERM)
        assert lab.finish(process, timeout=10).returncode == 130
    assert not lab.store.trials.exists()
