"""Every executor, over real trials: each job leaves a result, bad ones leave a typed one, and all numbers agree."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far.config import TrialConfig
from far.data.sharing import leftovers
from far.errors import ConfigError, LostError
from far.store.atomic import read_json, read_json_lines, write_json
from far.store.paths import TrialPaths
from far.store.records import read_heartbeat
from orchestrator.executors.base import Executor, Job, ListQueue, StopRequest
from orchestrator.executors.local import LocalExecutor
from orchestrator.executors.trial_runner import Watcher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes on this machine."""
    from orchestrator.executors.ray.cluster import prepare_environment

    prepare_environment(None)
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20},
    )
    made.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    yield made
    made.shutdown()


@pytest.fixture(params=["local", "ray"])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Executor:
    if request.param == "local":
        return LocalExecutor()
    from orchestrator.executors.ray.executor import RayTuneExecutor

    return RayTuneExecutor(tmp_path, address=request.getfixturevalue("cluster").address)


@pytest.fixture
def ray_executor(cluster: Any, tmp_path: Path) -> Executor:
    from orchestrator.executors.ray.executor import RayTuneExecutor

    return RayTuneExecutor(tmp_path, address=cluster.address)


def changed(config: TrialConfig, section: str, **values: Any) -> TrialConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


@pytest.fixture
def job(tmp_path: Path, tiny_data: Path) -> Any:
    def make(name: str, config: TrialConfig, **options: Any) -> Job:
        directory = tmp_path / "trials" / name
        spec = {"key": name, "identity": {"seed": 0}, "config": config.model_dump(mode="json"), "before": 0}
        write_json(TrialPaths(directory).trial, spec)
        return Job(directory, tiny_data, **{"devices": 1, "cpus": 1, **options})

    return make


def run(executor: Executor, *jobs: Job) -> dict[str, dict[str, Any]]:
    executor.run(ListQueue(jobs), StopRequest())
    return {job.key: read_json(TrialPaths(job.directory).result) for job in jobs}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, tiny_config: TrialConfig, tiny_data: Path) -> TrialPaths:
    """What the tiny trial leaves, run by the in-process executor."""
    directory = tmp_path_factory.mktemp("expected") / "good"
    write_json(
        TrialPaths(directory).trial,
        {"key": "good", "identity": {"seed": 0}, "config": tiny_config.model_dump(mode="json")},
    )
    LocalExecutor().run(ListQueue([Job(directory, tiny_data, 1, 1)]), StopRequest())
    return TrialPaths(directory)


def numbers(paths: TrialPaths) -> list[dict[str, Any]]:
    """The metric history without its times."""
    return [
        {k: v for k, v in r.items() if k not in ("time", "system") and "seconds" not in k}
        for r in read_json_lines(paths.metrics)
    ]


def test_good_trials_finish_and_bad_ones_say_why(
    executor: Executor, job: Any, tiny_config: TrialConfig, expected: TrialPaths
) -> None:
    jobs = [
        job("diverges", changed(tiny_config, "recipe", lr=1e30)),
        job("impossible", changed(tiny_config, "recipe", precision="fp16")),
        job("good", tiny_config),
    ]
    left = leftovers.places()[0] / f"{leftovers.PREFIX}{uuid.uuid4().hex}"  # by trials that were killed
    (left / leftovers.READERS).mkdir(parents=True)
    results = run(executor, *jobs)
    assert not left.exists()
    assert {key: result["state"] for key, result in results.items()} == {
        "good": "finished",
        "diverges": "diverged",
        "impossible": "failed",
    }
    assert results["impossible"]["error"]["kind"] == "configuration"
    assert "fp16" in results["impossible"]["error"]["message"]
    good = TrialPaths(jobs[2].directory)
    assert good.predictions.read_bytes() == expected.predictions.read_bytes()
    assert numbers(good) == numbers(expected)
    assert results["good"]["metrics"] == read_json(expected.result)["metrics"]


def test_a_finished_trial_is_left_alone(executor: Executor, job: Any, tiny_config: TrialConfig) -> None:
    mine = job("good", tiny_config)
    write_json(TrialPaths(mine.directory).result, {"key": "good", "state": "finished", "metrics": {"top1": 99.0}})
    assert run(executor, mine)["good"]["metrics"] == {"top1": 99.0}


def test_a_damaged_checkpoint_is_set_aside(job: Any, tiny_config: TrialConfig, expected: TrialPaths) -> None:
    mine = job("good", tiny_config)
    paths = TrialPaths(mine.directory)
    checkpoint = paths.checkpoints / "epoch-0001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "mp_rank_00_model_states.pt").write_bytes(b"half of it")
    assert run(LocalExecutor(), mine)["good"]["state"] == "finished"
    assert paths.predictions.read_bytes() == expected.predictions.read_bytes()
    assert numbers(paths) == numbers(expected)


def test_two_ranks_make_one_trial(ray_executor: Executor, job: Any, tiny_config: TrialConfig) -> None:
    results = run(ray_executor, job("pair", tiny_config, devices=2), job("broken", changed(
        tiny_config, "recipe", lr=1e30), devices=2))  # fmt: skip
    assert results["pair"]["state"] == "finished"
    assert results["pair"]["execution"]["world_size"] == 2
    assert results["pair"]["evaluated"] == 20
    assert results["broken"]["state"] == "diverged"


def test_more_than_the_cluster_has_is_refused_not_waited_for(
    ray_executor: Executor, job: Any, tiny_config: TrialConfig
) -> None:
    with pytest.raises(ConfigError, match="wants 64 CPUs"):
        run(ray_executor, job("greedy", tiny_config, cpus=64))


ILLEGAL = "CUDA error: an illegal memory access was encountered"


def test_a_gpu_that_has_failed_gets_no_further_trial(
    job: Any, tiny_config: TrialConfig, expected: TrialPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context of a process is dead after such an error: every further trial in it would fail at once."""
    from far.train.trial import TrialRun

    first, second = job("first", tiny_config), job("second", tiny_config)
    train, calls = TrialRun.train_epoch, iter(range(9))

    def strike(self: TrialRun) -> Any:
        if next(calls) == 1:
            raise RuntimeError(f"{ILLEGAL}\nCUDA kernel errors might be asynchronously reported")
        return train(self)

    monkeypatch.setattr(TrialRun, "train_epoch", strike)
    with pytest.raises(LostError, match=ILLEGAL):
        LocalExecutor().run(ListQueue([first, second]), StopRequest())
    assert not TrialPaths(first.directory).result.exists()
    (attempt,) = read_json(TrialPaths(first.directory).trial)["attempts"]
    assert ILLEGAL in attempt["lost"] and "ended" not in attempt
    assert "attempts" not in read_json(TrialPaths(second.directory).trial)
    results = run(LocalExecutor(), first, second)  # in another process, in real life
    assert [result["state"] for result in results.values()] == ["finished"] * 2
    assert numbers(TrialPaths(first.directory)) == numbers(expected)


def test_the_process_of_a_gpu_that_has_failed_ends(
    job: Any, tiny_config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from far.distributed import join_world
    from far.train.trial import TrialRun
    from orchestrator.executors.ray import trainable
    from orchestrator.executors.trial_runner import TrialRunner

    def strike(self: TrialRun) -> Any:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")

    def end(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(TrialRun, "train_epoch", strike)
    monkeypatch.setattr(trainable.os, "_exit", end)
    slot = trainable.TrialTrainable.__new__(trainable.TrialTrainable)
    slot._host, slot._peers, slot._job = TrialRunner(join_world(), capture=False), [], job("struck", tiny_config)
    slot._host.start(slot._job)
    with pytest.raises(SystemExit):
        while not slot.step()["done"]:
            pass
    assert "CUDNN_STATUS" in read_json(TrialPaths(slot._job.directory).trial)["attempts"][0]["lost"]


def test_a_gpu_that_torch_cannot_use_fails_the_trial_and_one_that_is_not_wanted_does_not(
    job: Any, tiny_config: TrialConfig, tmp_path: Path
) -> None:
    """A cluster that believes in a GPU: what Ray gives CUDA_VISIBLE_DEVICES for and torch cannot find."""
    import torch
    from ray.cluster_utils import Cluster

    from orchestrator.executors.ray.cluster import prepare_environment
    from orchestrator.executors.ray.executor import RayTuneExecutor

    if torch.cuda.is_available():
        pytest.skip("torch can use the GPU of this machine")
    prepare_environment(None)
    head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        executor = RayTuneExecutor(tmp_path, address=made.address)
        results = run(executor, job("given", tiny_config), job("on-the-cpu", tiny_config, gpus=0.0))
    finally:
        made.shutdown()
    assert (results["given"]["state"], results["given"]["error"]["kind"]) == ("failed", "configuration")
    for part in ("torch cannot use the GPU", f"torch {torch.__version__}", "NVIDIA driver"):
        assert part in results["given"]["error"]["message"]
    assert results["on-the-cpu"]["state"] == "finished"


def stopped_in(paths: TrialPaths) -> list[str]:
    """Return why the starts of a trial ended, after checking that it can go on in the middle of an epoch."""
    assert not paths.result.exists()
    assert any("-step-" in path.name for path in paths.checkpoints.iterdir())
    return [attempt.get("ended") for attempt in read_json(paths.trial)["attempts"]]


def test_a_signal_interrupts_a_trial_here_and_it_goes_on(job: Any, tiny_config: TrialConfig) -> None:
    class Terminated(Watcher):
        def built(self, run: Any) -> None:
            batches = run.stream.epoch

            def watched(epoch: int, start_step: int = 0) -> Iterator[Any]:
                for index, batch in enumerate(batches(epoch, start_step)):
                    if (epoch, index) == (1, 2):
                        os.kill(os.getpid(), signal.SIGTERM)
                    yield batch

            run.stream.epoch = watched

    whole, stopped = job("whole", tiny_config), job("stopped", tiny_config)
    run(LocalExecutor(), whole)
    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(watcher=Terminated()).run(ListQueue([stopped]), StopRequest())
    assert stopped_in(TrialPaths(stopped.directory)) == ["interrupted"]
    assert run(LocalExecutor(), stopped)["stopped"]["state"] == "finished"
    assert numbers(TrialPaths(stopped.directory)) == numbers(TrialPaths(whole.directory))


def test_a_sweep_on_ray_that_is_stopped_waits_for_checkpoints(
    job: Any, tiny_config: TrialConfig, ray_executor: Executor
) -> None:
    augment = tiny_config.recipe.augment.model_copy(
        update={"crop": True, "repeats": 64}
    )  # an epoch is longer than a look
    config = changed(tiny_config, "recipe", epochs=100, batch_size=1, lr_reference_batch=1, augment=augment)
    long, stop = job("long", config), StopRequest()
    paths = TrialPaths(long.directory)

    def interrupt() -> None:
        while not (beat := read_heartbeat(paths)) or beat["phase"] != "train" or not 0 < beat["done"] < 10:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    def heard(number: int, frame: object) -> None:  # as a sweep does
        stop.request(KeyboardInterrupt())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, heard)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ray_executor.run(ListQueue([long]), stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped_in(paths) == ["interrupted"]
