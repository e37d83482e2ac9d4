"""Whether trials fit the devices at all: what Ray would wait for in vain, a plan says and a sweep refuses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from orchestrator.estimate.devices import Target
from orchestrator.estimate.estimate import cpus_held, devices_held, processes_of
from orchestrator.plan.plan import PlannedTrial

TOLERANCE = 1e-9


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
