"""Processes of a cluster on this machine load what a trial needs while the sweep is still being prepared.

The actors of Ray's trials take processes that are there and have nothing to do. So tasks start as many as there will be
trials at once, and import PyTorch and the training loop in them, two of the three seconds of CPU that a process takes
until its first step, while Tune is imported here.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Sequence
from typing import Any

import ray

from far.distributed import import_deepspeed
from orchestrator.executors import collector
from orchestrator.executors.base import Job, Node, places

MODULES = ("orchestrator.executors.ray.trainable", "far.train.trial")


def load_ahead(jobs: Sequence[Job], nodes: Sequence[Node], concurrent: int | None) -> list[Any]:
    """Start to import what trials need, in as many processes as they will take.

    Args:
        jobs: what is to run.
        nodes: of the cluster, which is this machine.
        concurrent: largest number of trials at once; None: as many as fit.

    Returns:
        What ``ray.wait`` waits for; a trial that starts before takes another process. Nothing where fewer trials run
        at once than there is room for.
    """
    like = jobs[0]
    number = sum(job.devices for job in jobs[:concurrent])
    if number < places(like, nodes):
        return []  # Ray would start another process beside these, and give a trial that one
    number = places(like, nodes)
    task = ray.remote(load).options(num_cpus=like.cpus, max_retries=0)
    return [task.remote(any(node.get("GPU", 0.0) > 0 for node in nodes)) for _ in range(number)]


def load(gpus: bool) -> None:
    """Import what a trial needs in this process.

    Args:
        gpus: whether the process may be given a GPU later: DeepSpeed, which looks for one, is left to the trial then.
    """
    with collector.paused():
        for name in MODULES:
            importlib.import_module(name)
        if not gpus:
            os.environ["DS_ACCELERATOR"] = "cpu"
            import_deepspeed()
    gc.freeze()  # what is imported stays
