"""What fits the devices: trials that want more than there is, and how many share a GPU (``resources.gpus: auto``)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.estimate.devices import Target
from orchestrator.estimate.estimate import MEMORY_SHARE, cpus_held, devices_held
from orchestrator.estimate.measurements import Measurements, collect, shape
from orchestrator.estimate.workload import PROCESS, Counts, processes_of
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.store import Store
from orchestrator.study.schema import AUTO

TOLERANCE = 1e-9
"""Of a sum of shares."""

SHARES = 10_000
"""Ray's resolution of a fractional resource."""


def misfits(trials: Sequence[PlannedTrial], target: Target) -> list[str]:
    """Return which rows want more than there is, and what would have to change, one line for each reason."""
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for trial in trials:
        for need in _lacking(trial, target):
            names = rows[trial.study, need]
            if trial.row not in names:
                names.append(trial.row)
    return [
        f"study '{study}': {_listed(names)} cannot run: a trial takes {need}; set run.devices, run.cpus or resources"
        for (study, need), names in rows.items()
    ]


def several_processes(trials: Sequence[PlannedTrial]) -> list[str]:
    """Return which rows want more than the one process that ``--executor local`` has."""
    wide = {trial.row: processes_of(trial) for trial in trials if processes_of(trial) > 1}
    if not wide:
        return []
    return [f"{_listed(list(wide))} cannot run in this process: a trial takes {max(wide.values())}; set run.devices=1"]


def _lacking(trial: PlannedTrial, target: Target) -> list[str]:
    number = processes_of(trial)
    processes = f"{number} process{'es' if number > 1 else ''}"
    found = []
    held = devices_held(trial, target)
    if target.kind == "gpu" and held > target.count + TOLERANCE:
        found.append(f"{held:g} GPUs ({processes}), and there {_are(target.count)} ({target.name})")
    held, cores = cpus_held(trial), target.count if target.kind == "cpu" else target.cores
    if cores is not None and held > cores + TOLERANCE:
        found.append(f"{held:g} CPUs ({processes}), and there {_are(cores)}")
    return found


def _are(count: int) -> str:
    return f"is {count}" if count == 1 else f"are {count}"


def _listed(names: Sequence[str], most: int = 4) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"row{'s' if len(names) > 1 else ''} {', '.join(repr(name) for name in names[:most])}{rest}"


def with_gpu_packing(plan: Plan, store: Store, target: Target, counts: Counts) -> Plan:
    """Return a plan in which every ``auto`` is a number.

    A row that neither ran nor was probed on this kind of GPU gets a whole one: nothing is packed by a formula. So does
    a trial of several processes.

    Args:
        plan: the plan.
        store: its finished trials and probes are measurements.
        target: the GPUs that it will run on.
        counts: videos of a data set, None where it is not here.
    """
    if all(trial.resources.gpus != AUTO for trial in plan.trials):
        return plan
    measurements = collect(plan, store, target, counts) if target.kind == "gpu" else Measurements()
    return replace(plan, trials=tuple(_with_gpu_packing(trial, measurements, target) for trial in plan.trials))


def _with_gpu_packing(trial: PlannedTrial, measurements: Measurements, target: Target) -> PlannedTrial:
    if trial.resources.gpus != AUTO:
        return trial
    devices = trial.config.run.devices
    peaks = [run.memory + PROCESS for run in measurements.same.get(shape(trial.identity), [])]
    memory = target.memory
    fit = int(MEMORY_SHARE * memory / max(peaks)) if memory and peaks and devices == 1 else 1
    gpus = math.floor(SHARES / max(1, fit)) / SHARES if devices == 1 else float(devices)
    return replace(trial, resources=trial.resources.model_copy(update={"gpus": gpus}))
