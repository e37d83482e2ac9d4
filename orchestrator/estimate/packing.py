"""``resources.gpus: auto``: as many trials share a GPU as their measured peaks of memory leave room for."""

from __future__ import annotations

import math
from dataclasses import replace

from orchestrator.estimate.devices import Target
from orchestrator.estimate.estimate import MEMORY_SHARE
from orchestrator.estimate.measurements import Evidence, collect, shape
from orchestrator.estimate.workload import PROCESS, Counts
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.store import Store
from orchestrator.study.schema import AUTO

SHARES = 10_000
"""Ray's resolution of a fractional resource."""


def packed(plan: Plan, store: Store, target: Target, counts: Counts) -> Plan:
    """Return a plan in which every ``auto`` is a number.

    A row that neither ran nor was probed on this kind of GPU gets a whole one: nothing is packed by a formula. So does
    a trial of several processes.

    Args:
        plan: the plan.
        store: its finished trials and probes are evidence.
        target: the GPUs that it will run on.
        counts: videos of a data set, None where it is not here.
    """
    if all(trial.resources.gpus != AUTO for trial in plan.trials):
        return plan
    wanted: dict[str, list[str]] = {shape(trial.identity): [] for trial in plan.missing()}
    for trial in plan.unique():
        if trial.state == "finished" and (name := shape(trial.identity)) in wanted:
            wanted[name].append(trial.key)
    evidence = collect(store, target, counts, wanted) if target.kind == "gpu" else Evidence()
    return replace(plan, trials=tuple(_packed(trial, evidence, target) for trial in plan.trials))


def _packed(trial: PlannedTrial, evidence: Evidence, target: Target) -> PlannedTrial:
    if trial.resources.gpus != AUTO:
        return trial
    devices = trial.config.run.devices
    peaks = [run.memory + PROCESS for run in evidence.same.get(shape(trial.identity), [])]
    memory = target.memory
    fit = int(MEMORY_SHARE * memory / max(peaks)) if memory and peaks and devices == 1 else 1
    gpus = math.floor(SHARES / max(1, fit)) / SHARES if devices == 1 else float(devices)
    return replace(trial, resources=trial.resources.model_copy(update={"gpus": gpus}))
