"""Every failure of the list, really caused; after each, the same command ends like an undisturbed sweep.

Trials run in the driver's own process where the fault strikes the trial, which is the same code as on Ray and starts
at once; on Ray where processes and nodes are what is lost.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from far.data.sources.manifest import read_manifest, write_manifest
from far.store.atomic import file_sha256, read_json, read_json_lines
from orchestrator.chaos.faults import Running, kill_in_checkpoint
from orchestrator.chaos.invariants import finished_marks, run_again
from orchestrator.chaos.site import Server
from tests.orchestrator.executors.wall_clock import Clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_worker_killed_mid_epoch_is_started_again(lab: Any, undisturbed: Any, wait: Callable[..., Any]) -> None:
    process = lab.start("study.yaml")
    wait(lambda: _kill_in_training(lab))
    second = lab.call("study.yaml")  # while it is at it: another driver on the same study
    assert (second.returncode, "in use by" in second.stderr) == (2, True)
    done = lab.finish(process)
    assert done.returncode == 0, done.stderr
    assert lab.wrong(undisturbed) == []
    attempts = [len(lab.store.trial(key)["attempts"]) for key in sorted(lab.store.keys())]
    assert sorted(attempts) == [1, 1, 2]


def _kill_in_training(lab: Any) -> bool:
    """Kill a process that is in the middle of a trial: not one that has just finished it, which these do in seconds."""
    for key in sorted(lab.store.keys()):
        paths = lab.store.paths(key)
        pid = (read_json(paths.lock) or {}).get("pid") if paths.metrics.exists() else None
        if pid is None:
            continue
        os.kill(pid, signal.SIGSTOP)
        if paths.metrics.read_bytes().count(b"\n") in (1, 2):
            os.kill(pid, signal.SIGKILL)
            return True
        os.kill(pid, signal.SIGCONT)
    return False


def test_a_driver_killed_at_a_random_moment(lab: Any, undisturbed: Any, wait: Callable[..., Any]) -> None:
    process = lab.start("study.yaml")
    wait(lambda: lab.writers())
    time.sleep(random.uniform(0.0, 2.0))
    process.kill()
    process.communicate()
    before = finished_marks(lab.store)
    done = lab.run("study.yaml")  # at once, while the old workers may still be there
    assert done.returncode == 0, done.stderr
    assert run_again(before, lab.store) == []
    assert lab.wrong(undisturbed) == []
    table = ("--study", "study.yaml", "--format", "csv")
    assert lab.call(*table, command="report").stdout == undisturbed.call(*table, command="report").stdout != ""


def test_a_kill_in_the_middle_of_a_checkpoint(lab: Any, undisturbed: Any) -> None:
    for _ in range(2):
        process = lab.start("study.yaml", "--executor", "local")
        nothing: Any = None
        running = Running(process, [], {}, lab.directory, lab.store, random.Random(0), nothing)
        while process.poll() is None and not kill_in_checkpoint(running):
            pass
        assert lab.finish(process).returncode == -signal.SIGKILL
    assert list(lab.store.trials.glob("*/checkpoints/*.partial"))
    done = lab.sweep()
    assert done.returncode == 0, done.stderr
    assert lab.wrong(undisturbed) == []


def test_a_locked_data_base_delays_nothing_but_itself(lab: Any, undisturbed: Any, wait: Callable[..., Any]) -> None:
    process = lab.start("study.yaml", "--executor", "local")
    wait(lambda: lab.epochs() >= 1)
    connection = sqlite3.connect(lab.store.root / "mlflow.db", timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    wait(lambda: len(finished_marks(lab.store)) == 3)  # the trials end while it is locked
    connection.rollback()
    connection.close()
    done = lab.finish(process)
    assert done.returncode == 0, done.stderr
    assert lab.wrong(undisturbed) == []


def test_a_tracking_server_that_is_down(lab: Any, undisturbed: Any, server: Server, wait: Callable[..., Any]) -> None:
    process = lab.start("study.yaml", "--executor", "local", "--tracking-uri", server.uri)
    wait(lambda: lab.epochs() >= 1)
    server.stop()
    done = lab.finish(process)
    assert done.returncode == 0  # training neither waits nor dies
    assert "MLflow is not up to date" in done.stderr
    assert len(finished_marks(lab.store)) == 3
    server.start()
    again = lab.sweep("--tracking-uri", server.uri)
    assert again.returncode == 0, again.stderr
    assert server.uri not in again.stdout  # MLflow prints an address a run unless it is told not to
    assert lab.wrong(undisturbed, server.uri) == []


@pytest.fixture
def small_disk(lab: Any, mount: Callable[..., Path]) -> Path:
    """The store on a file system of 1.5 MiB."""
    return mount(lab.store.root, "-t", "tmpfs", "-o", "size=1536k", "none")


def test_a_full_disk_stops_the_sweep_and_room_lets_it_go_on(lab: Any, undisturbed: Any, small_disk: Path) -> None:
    stopped = lab.run("study.yaml", "--executor", "local")
    assert stopped.returncode == 3
    assert "no space left to write" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    before = finished_marks(lab.store)
    assert len(before) < 3
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    done = lab.sweep()
    assert done.returncode == 0, done.stderr
    assert run_again(before, lab.store) == []
    assert lab.wrong(undisturbed) == []


@pytest.fixture
def write_protected(lab: Any, mount: Callable[..., Path]) -> Callable[[], None]:
    """Protect the store from writing; what is open stays open, as when a file system is remounted after an error."""
    store = lab.store.root

    def protect() -> None:
        mount(store, "--bind", store)
        subprocess.run(["mount", "-o", "remount,ro,bind", store], check=True)

    return protect


@pytest.mark.parametrize("executor", ["ray", "local"])
def test_a_store_that_turns_read_only(
    executor: str, lab: Any, undisturbed: Any, write_protected: Callable[[], None], wait: Callable[..., Any]
) -> None:
    process = lab.start("study.yaml", "recipe.epochs=300", "--executor", executor)
    wait(lambda: lab.epochs() >= 2)
    write_protected()
    stopped = lab.finish(process, timeout=100)
    assert stopped.returncode == 3
    assert "cannot be written (Read-only file system)" in stopped.stderr
    assert "Traceback" not in stopped.stdout + stopped.stderr
    again = lab.call("study.yaml", "--executor", executor)
    assert (again.returncode, "store: " in again.stderr) == (2, True)  # before anything has begun: a wrong setting
    subprocess.run(["umount", "-l", lab.store.root], check=True)
    shutil.rmtree(lab.store.trials)  # of another study
    done = lab.sweep()
    assert done.returncode == 0, done.stderr


def test_the_control_service_is_killed(lab: Any, undisturbed: Any, wait: Callable[..., Any]) -> None:
    import psutil
    from mlflow import MlflowClient

    process = lab.start("study.yaml")
    wait(lambda: lab.epochs() >= 1)
    (control,) = [p for p in psutil.Process(process.pid).children(recursive=True) if p.name() == "gcs_server"]
    control.kill()
    stopped = lab.finish(process, timeout=50)  # Ray's core would end the driver after 60 s, with 1
    assert stopped.returncode == 3
    assert "Ray's control service (gcs_server) has died; run the same command again" in stopped.stderr
    client = MlflowClient(lab.uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    assert "RUNNING" not in {run.info.status for run in client.search_runs([experiment.experiment_id])}
    done = lab.sweep()
    assert done.returncode == 0, done.stderr
    assert lab.wrong(undisturbed) == []


def test_a_clock_that_jumps_back(lab: Any, undisturbed: Any, tmp_path: Path, wait: Callable[..., Any]) -> None:
    clock = Clock(tmp_path / "clock")
    if not clock.works:
        pytest.skip("no C compiler to make another clock with")
    process = lab.start("study.yaml", "--executor", "local", **clock.environment)
    wait(lambda: lab.epochs() >= 2)
    clock.jump(-3600)
    done = lab.finish(process)
    assert done.returncode == 0, done.stderr
    assert lab.wrong(undisturbed) == []
    times = [r["time"] for key in sorted(lab.store.keys()) for r in read_json_lines(lab.store.paths(key).metrics)]
    assert max(map(_seconds, times)) - min(map(_seconds, times)) > 3000  # it has jumped, in the middle of it
    from mlflow import MlflowClient

    client = MlflowClient(lab.uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    for run in client.search_runs([experiment.experiment_id]):
        assert run.info.end_time >= run.info.start_time


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_unreadable_videos_are_counted_and_named(lab: Any, tiny_data: Path) -> None:
    data = lab.directory / "mine"  # not the demo, which would be generated again, and without what was decoded already
    shutil.copytree(next(tiny_data.glob("demo-*")), data, ignore=shutil.ignore_patterns(".frames"))
    broken = sorted(data.glob("val/*.mp4"))[:2]
    assert len(broken) == 2
    for path in broken:
        path.write_bytes(path.read_bytes()[:200])
    manifest = read_manifest(data)  # as if they had been broken when the data set was prepared
    names = {f"val/{path.stem}": file_sha256(path) for path in broken}
    videos = [replace(each, sha256=names.get(each.id, each.sha256)) for each in manifest.videos]
    write_manifest(replace(manifest, videos=tuple(videos)))
    done = lab.sweep("recipe.epochs=1", f"data.source={data}")
    assert done.returncode == 0, done.stderr
    for key in sorted(lab.store.keys()):
        result = read_json(lab.store.paths(key).result)
        assert (result["evaluated"], result["expected"]) == (18, 20)
        assert set(result["unreadable"]) == {f"val/{path.stem}" for path in broken}


HUNGRY = """
import resource, sys
from pathlib import Path
from far.distributed import join_world
from orchestrator.executors.base import Job, ListQueue, StopRequest
from orchestrator.executors.local import LocalExecutor

join_world()
first, second, data = map(Path, sys.argv[1:])
LocalExecutor().run(ListQueue([Job(first, data, 1, 1)]), StopRequest())
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmPeak"].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (peak + 64 * 2**20, resource.RLIM_INFINITY))  # what fitted before fits again
LocalExecutor().run(ListQueue([Job(second, data, 1, 1)]), StopRequest())
"""


def test_out_of_memory_halves_the_micro_batch(tmp_path: Path, tiny_config: Any, tiny_data: Path) -> None:
    from far.store.atomic import write_json
    from far.store.paths import TrialPaths

    model = tiny_config.model.model_copy(update={"depth": 12})
    recipe = tiny_config.recipe.model_copy(update={"batch_size": 32, "epochs": 1})
    for name, micro_batch in (("first", 4), ("second", 32)):
        run = tiny_config.run.model_copy(update={"micro_batch": micro_batch, "workers": 0})
        config = tiny_config.model_copy(update={"run": run, "model": model, "recipe": recipe})
        spec = {"key": name, "identity": {}, "config": config.model_dump(mode="json"), "before": 0}
        write_json(TrialPaths(tmp_path / name).trial, spec)
    subprocess.run(
        [sys.executable, "-c", HUNGRY, tmp_path / "first", tmp_path / "second", tiny_data],
        check=True, env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    result = read_json(tmp_path / "second" / "result.json")
    assert result["state"] == "finished", result["error"]
    micro = result["execution"]["micro_batch"]
    assert micro < 32
    attempts = read_json(tmp_path / "second" / "trial.json")["attempts"]
    tried = [attempt["micro_batch"] for attempt in attempts]
    assert tried == [32 >> n for n in range(len(tried))]
    assert tried[-1] == micro
    assert {attempt.get("ended") for attempt in attempts[:-1]} == {"out-of-memory"}


def test_a_node_that_is_lost(tmp_path: Path, tiny_config: Any, tiny_data: Path, wait: Callable[..., Any]) -> None:
    from ray.cluster_utils import Cluster

    from far.config.trial import TrialConfig
    from far.plugins import load_plugin, only_within
    from far.store.atomic import write_json
    from far.store.paths import TrialPaths
    from orchestrator.executors.base import Job, ListQueue, StopRequest
    from orchestrator.executors.ray.executor import RayTuneExecutor

    (tmp_path / "ideas.py").write_text(
        "from far.architecture.patterns import PATTERNS, spatial\n"
        "PATTERNS.register('own')(lambda grid: spatial(grid))\n"
    )
    with only_within():  # each node's process gets it with the job; the file is gone by then
        code = load_plugin(tmp_path / "ideas.py").code
        values = tiny_config.model_dump()
        changes = {"recipe": {**values["recipe"], "epochs": 40}, "seed": 1}
        config = TrialConfig.model_validate(
            {**values, **changes, "model": {**values["model"], "attention": {"own": 1}}}
        )
    (tmp_path / "ideas.py").unlink()
    paths = TrialPaths(tmp_path / "trials" / "k")
    write_json(paths.trial, {"key": "k", "identity": {}, "config": config.model_dump(mode="json"), "before": 0})
    options = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **options})
    try:
        first = cluster.add_node(num_cpus=1, **options)
        executor = RayTuneExecutor(tmp_path, address=cluster.address)
        queue = ListQueue([Job(paths.directory, tiny_data, 1, 1, plugins=(code,))])
        thread = threading.Thread(target=executor.run, args=(queue, StopRequest()), daemon=True)
        thread.start()
        wait(lambda: paths.metrics.exists() and paths.metrics.read_bytes().count(b"\n") >= 2)
        cluster.add_node(num_cpus=1, **options)
        cluster.remove_node(first, allow_graceful=False)
        thread.join(180)
        assert not thread.is_alive()
    finally:
        cluster.shutdown()
    result = read_json(paths.result)
    assert result["state"] == "finished"
    assert result["starts"] == 2
    assert read_json(paths.trial)["attempts"][1]["epoch"] >= 2  # it went on from its checkpoint
