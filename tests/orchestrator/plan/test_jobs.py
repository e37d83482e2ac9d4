"""From a planned trial to a job: resources, and what a new submission keeps of the old one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from far.config import TrialConfig
from orchestrator.executors.base import ChainedQueue, Job, ListQueue, Node, bundle
from orchestrator.plan.jobs import make_job, submit
from orchestrator.plan.plan import PlannedTrial
from orchestrator.study.schema import ResourcesConfig
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(load_settings(tmp_path))


def planned(config: TrialConfig, **resources: Any) -> PlannedTrial:
    return PlannedTrial("s", "r", 0, "k", config, {"seed": 0}, "missing", "demo", ResourcesConfig(**resources))


@pytest.mark.parametrize(
    ("resources", "devices", "gpus", "cpus"),
    [
        ({}, 1, 1.0, 1),
        ({"gpus": 0.5}, 1, 0.5, 1),
        ({"gpus": 4, "cpus": 16}, 4, 1.0, 4),
        ({"gpus": 0, "cpus": 2}, 1, 0.0, 2),
    ],
)
def test_resources_of_a_trial_become_those_of_its_processes(
    workspace: Workspace, tiny_config: TrialConfig, resources: Any, devices: int, gpus: float, cpus: float
) -> None:
    job = make_job(workspace, planned(tiny_config, **resources))
    assert (job.devices, job.gpus, job.cpus) == (devices, gpus, cpus)


def test_bundles_are_one_a_process_and_ask_for_gpus_only_where_there_are_any(
    workspace: Workspace, tiny_config: TrialConfig
) -> None:
    from orchestrator.executors.ray.trainable import TrialTrainable

    def bundles(job: Job, nodes: list[Node]) -> list[dict[str, float]]:
        request = TrialTrainable.default_resource_request({"job": job, "bundle": bundle(job, nodes)})
        return list(request.bundles)

    job = make_job(workspace, planned(tiny_config, gpus=0.5, cpus=2))
    assert bundles(job, [{"CPU": 8, "GPU": 1}]) == [{"CPU": 2.0, "GPU": 0.5}]
    assert bundles(job, [{"CPU": 8}]) == [{"CPU": 2.0}]
    pair = make_job(workspace, planned(tiny_config, gpus=2))
    assert bundles(pair, [{"CPU": 8, "GPU": 2}]) == [{"CPU": 1.0, "GPU": 1.0}] * 2


def test_a_trial_that_somebody_writes_is_not_touched(workspace: Workspace, tiny_config: TrialConfig) -> None:
    store = workspace.store
    submit(workspace, planned(tiny_config))
    before = store.paths("k").trial.read_bytes()
    other = tiny_config.model_copy(update={"run": tiny_config.run.model_copy(update={"workers": 5})})
    with store.lock_trial("k"):
        submit(workspace, planned(other))
    assert store.paths("k").trial.read_bytes() == before
    submit(workspace, planned(other))
    assert store.trial("k")["config"]["run"]["workers"] == 5


def test_a_halved_micro_batch_stays_unless_one_is_named(workspace: Workspace, tiny_config: TrialConfig) -> None:
    store = workspace.store
    submit(workspace, planned(tiny_config))
    record = store.trial("k")
    record["attempts"] = [{"micro_batch": 8, "ended": "out-of-memory"}, {"micro_batch": 4}]
    record["config"]["run"]["micro_batch"] = 4
    store.write_trial("k", record)
    submit(workspace, planned(tiny_config))
    assert store.trial("k")["config"]["run"]["micro_batch"] == 4
    assert store.trial("k")["before"] == 2
    named = tiny_config.model_copy(update={"run": tiny_config.run.model_copy(update={"micro_batch": 2})})
    submit(workspace, planned(named))
    assert store.trial("k")["config"]["run"]["micro_batch"] == 2


def test_a_named_micro_batch_that_did_not_fit_is_not_tried_again(
    workspace: Workspace, tiny_config: TrialConfig
) -> None:
    """The profiles of the paper name one: a rerun must not run out of memory with it first, every time."""
    store = workspace.store
    named = tiny_config.model_copy(update={"run": tiny_config.run.model_copy(update={"micro_batch": 8})})
    submit(workspace, planned(named))
    record = store.trial("k")
    record["attempts"] = [{"micro_batch": 8, "ended": "out-of-memory"}, {"micro_batch": 4, "ended": "out-of-memory"}]
    record["config"]["run"]["micro_batch"] = 2
    store.write_trial("k", record)
    for _ in range(2):
        submit(workspace, planned(named))
        assert store.trial("k")["config"]["run"]["micro_batch"] == 2
    other = tiny_config.model_copy(update={"run": tiny_config.run.model_copy(update={"micro_batch": 1})})
    submit(workspace, planned(other))  # one that has not been tried
    assert store.trial("k")["config"]["run"]["micro_batch"] == 1


def test_queues_in_a_row_give_every_job_once(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / str(n), tmp_path, 1, 1) for n in range(5)]
    chain = ChainedQueue([ListQueue(jobs[:2]), ListQueue([]), ListQueue(jobs[2:])])
    assert len(chain) == 5
    got = []
    while not chain.is_empty():
        got.append(chain.next())
    assert got == jobs


def test_a_budget_that_is_used_up_starts_nothing_more(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / str(n), tmp_path, 1, 1) for n in range(3)]
    answers = iter([True, False])
    queue = ListQueue(jobs, lambda: next(answers))
    assert queue.next() == jobs[0]
    assert queue.next() is None
    assert queue.is_empty()
    assert queue.started == 1
