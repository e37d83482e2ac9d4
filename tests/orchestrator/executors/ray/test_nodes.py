"""What fits on which nodes, and how many CPUs there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from far.cpus import allowed_cpus
from far.errors import ConfigError
from orchestrator.executors.base import Job, fits, most_on_a_node, places, refuse_unfit
from orchestrator.executors.ray.nodes import this_machine


def job(devices: int = 1, cpus: float = 1.0, gpus: float = 1.0) -> Job:
    return Job(Path("k"), Path(), devices, cpus, gpus)


@pytest.mark.parametrize(
    ("wanted", "nodes", "room"),
    [
        (job(cpus=3), [{"CPU": 1}, {"CPU": 2}], 0),
        (job(cpus=2), [{"CPU": 1}, {"CPU": 2}], 1),
        (job(devices=3, cpus=1), [{"CPU": 1}, {"CPU": 2}], 3),
        (job(devices=2, cpus=2), [{"CPU": 3}, {"CPU": 1}], 1),
        (job(cpus=4), [{"CPU": 8}, {"CPU": 2, "GPU": 1}], 0),  # the GPU's node lacks the cores
        (job(devices=2, cpus=1), [{"CPU": 8, "GPU": 1}, {"CPU": 8, "GPU": 1}], 2),
        (job(cpus=0.25), [{"CPU": 1}], 4),
        (job(gpus=0.6), [{"CPU": 8, "GPU": 2}], 2),  # a part of a GPU is a part of one
        (job(gpus=0.0), [{"CPU": 8, "GPU": 2}], 8),
        (job(), [], 0),
    ],
)
def test_processes_fit_node_by_node(wanted: Job, nodes: list[dict[str, float]], room: int) -> None:
    assert places(wanted, nodes) == room
    assert (fits(wanted, nodes) is None) == (room >= wanted.devices)


@pytest.mark.parametrize(
    ("nodes", "devices", "together"),
    [
        ([{"CPU": 4}], 1, 4),
        ([{"CPU": 2}, {"CPU": 3}], 1, 3),
        ([{"CPU": 1}, {"CPU": 1}], 1, 1),
        ([{"CPU": 4}, {"CPU": 4}], 4, 1),
        ([{"CPU": 2}] * 4, 4, 2),  # each on two nodes, or more
        ([{"CPU": 8, "GPU": 2}], 1, 2),
        ([{"CPU": 1}], 2, 0),
    ],
)
def test_how_many_trials_run_on_one_machine(nodes: list[dict[str, float]], devices: int, together: int) -> None:
    assert most_on_a_node(job(devices=devices), nodes) == together


def test_the_refusal_tells_what_there_is() -> None:
    with pytest.raises(
        ConfigError, match=r"run\.cpus: trial k wants 3 CPUs on one node, the 2 nodes .* 1 CPUs; 2 CPUs"
    ):
        refuse_unfit([job(cpus=3)], [{"CPU": 1}, {"CPU": 2}])
    with pytest.raises(ConfigError, match=r"run\.devices: .* wants 3 processes with 1 CPUs each .* room for 2 of the"):
        refuse_unfit([job(devices=3)], [{"CPU": 2}])


def test_this_machine_has_what_a_sweep_on_it_will_have() -> None:
    assert this_machine()["CPU"] >= 1


def test_the_quota_of_a_container_counts(tmp_path: Path) -> None:
    mine = float(len(os.sched_getaffinity(0)))
    membership = tmp_path / "cgroup"

    def allowed(text: str) -> float:
        membership.write_text(text)
        return allowed_cpus(tmp_path, membership)

    (tmp_path / "cpu.max").write_text("50000 100000\n")  # version 2, seen from within a container
    assert allowed("0::/\n") == 0.5
    assert allowed("0::/docker/4f2a\n") == 0.5  # the host's name of the group
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert allowed("0::/\n") == mine
    nested = tmp_path / "slice" / "job"
    nested.mkdir(parents=True)
    (tmp_path / "slice" / "cpu.max").write_text("75000 100000\n")
    (nested / "cpu.max").write_text("max 100000\n")
    assert allowed("0::/slice/job\n") == 0.75  # of a group above
    (tmp_path / "cpu").mkdir()  # version 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("25000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert allowed("4:cpu,cpuacct:/docker/4f2a\n") == 0.25
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert allowed("4:cpu,cpuacct:/docker/4f2a\n") == mine
