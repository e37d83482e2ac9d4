"""From workload and measurements to a cost estimate, and what fits into a budget.

Measured where the same row has run on this kind of device, else by the rate of other rows there, else from what the
card's data sheet states.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from far.config import DataConfig
from far.errors import ConfigError
from orchestrator.estimate.devices import Target
from orchestrator.estimate.measurements import Measurements, collect, shape
from orchestrator.estimate.workload import (
    IN_TURNS,
    ON_CPU,
    TUNED,
    VIDEOS,
    Counts,
    Times,
    Workload,
    processes_of,
    times,
    workload_of,
)
from orchestrator.plan.order import priority_order
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.store import Store
from orchestrator.study.schema import BudgetConfig

Basis = Literal["measured", "rate", "stated"]
"""``measured``: the same row ran or was probed on this kind of device; ``rate``: other rows did, scaled by
operations; ``stated``: work over what the data sheet states, at best and at worst."""

MEMORY_SHARE = 0.9
"""Part of a GPU's memory that packed trials may fill."""

RATE_SPREAD = 1.15
"""Factor to either side of a rate, at least: rows use a device differently well."""


@dataclass(frozen=True)
class TrialCost:
    """What one trial costs.

    Attributes:
        low: wall clock of the trial in seconds, at best.
        high: at worst.
        devices: GPUs (or CPU cores) that it holds meanwhile.
        memory: peak bytes on one device.
        disk: bytes that it keeps.
        copy: bytes that MLflow keeps of it for each study that has it.
        checkpoint: bytes of the checkpoint being written, in addition to those that are kept.
        basis: where the figures come from.
        limits: where its seconds go at best and at worst, where they are estimated from the device table.
    """

    low: float
    high: float
    devices: float
    memory: int
    disk: int
    copy: int
    checkpoint: int
    basis: Basis
    limits: tuple[Times, Times] | None = None

    @property
    def seconds(self) -> float:
        """One figure for it: as far above the best as below the worst, as factors."""
        return (self.low * self.high) ** 0.5

    @property
    def device_hours(self) -> float:
        """GPU-hours; core-hours on a CPU."""
        return self.seconds * self.devices / 3600


@dataclass(frozen=True)
class CostEstimate:
    """The estimate for everything that a plan has left to run.

    Attributes:
        target: the devices that it is for.
        costs: by key; a trial whose data set is unknown is left out.
        at_once: how many trials run at the same time; 0 if the widest does not fit the devices.
        fit: trials that fit into one GPU's memory at once (into the machine's on a CPU).
        spans: seconds until the last one has finished, at best and at worst; None if the widest never starts.
        narrower: the same if a trial took as many devices as there are; only where it takes more.
        copies: bytes that MLflow keeps.
        unknown: keys without an estimate.
    """

    target: Target
    costs: dict[str, TrialCost]
    at_once: int
    fit: int | None
    spans: tuple[float, float] | None
    narrower: tuple[float, float] | None
    copies: int
    unknown: tuple[str, ...]

    @property
    def seconds(self) -> float | None:
        """One figure for ``spans``."""
        return (self.spans[0] * self.spans[1]) ** 0.5 if self.spans else None

    @property
    def device_hours(self) -> float:
        """The sum over trials."""
        return sum(cost.device_hours for cost in self.costs.values())

    @property
    def hours_range(self) -> tuple[float, float]:
        """The same at best and at worst."""
        low = sum(cost.low * cost.devices for cost in self.costs.values())
        high = sum(cost.high * cost.devices for cost in self.costs.values())
        return low / 3600, high / 3600

    @property
    def kept(self) -> int:
        """Bytes that trials keep, without MLflow's copies."""
        return sum(cost.disk for cost in self.costs.values())

    @property
    def disk(self) -> int:
        """Bytes that are needed: what is kept, MLflow's copies, and the checkpoints that are being written."""
        checkpoint = max((cost.checkpoint for cost in self.costs.values()), default=0)
        return self.kept + self.copies + checkpoint * max(1, self.at_once)

    @property
    def memory(self) -> int:
        """The largest trial's peak in bytes."""
        return max((cost.memory for cost in self.costs.values()), default=0)

    @property
    def is_estimate(self) -> bool:
        """Whether anything in it was not measured on the same row."""
        return any(cost.basis != "measured" for cost in self.costs.values())


def estimate_plan(plan: Plan, store: Store, target: Target, counts: Counts) -> CostEstimate:
    """Estimate what a plan has left to run.

    Args:
        plan: the plan.
        store: its finished trials and probes are measurements.
        target: the devices to estimate for.
        counts: videos of a data set, None where it is not here.
    """

    def known(data: DataConfig) -> tuple[int, int] | None:
        return counts(data) or VIDEOS.get(data.source)

    todo = plan.missing()
    measurements = collect(plan, store, target, known) if todo else Measurements()
    costs = _costs(todo, measurements, target, known)
    largest = max((cost.memory for cost in costs.values()), default=0)
    at_once = _slots(todo, target)
    cells = {(trial.study, trial.key) for trial in plan.trials}
    return CostEstimate(
        target=target,
        costs=costs,
        at_once=at_once,
        fit=int(MEMORY_SHARE * target.memory // largest) if largest and target.memory else None,
        spans=_spans(costs, at_once) if at_once else None,
        narrower=None if at_once else _narrower(todo, measurements, target, known),
        copies=sum(costs[key].copy for _, key in cells if key in costs),
        unknown=tuple(trial.key for trial in todo if trial.key not in costs),
    )


def _spans(costs: dict[str, TrialCost], at_once: int) -> tuple[float, float]:
    low, high = [cost.low for cost in costs.values()], [cost.high for cost in costs.values()]
    return makespan(low, at_once), makespan(high, at_once)


def _narrower(
    todo: Sequence[PlannedTrial], measurements: Measurements, target: Target, counts: Counts
) -> tuple[float, float] | None:
    """Return when all were done if a trial took no more devices than there are; None where that does not go."""
    trials = []
    for trial in todo:
        run = trial.config.run.model_copy(update={"devices": min(trial.config.run.devices, target.count)})
        gpus = trial.resources.gpus
        resources = trial.resources.model_copy(update={"gpus": gpus if gpus is None else run.devices})
        trials.append(replace(trial, config=trial.config.model_copy(update={"run": run}), resources=resources))
    at_once = _slots(trials, target)
    try:
        return _spans(_costs(trials, measurements, target, counts), at_once) if at_once else None
    except ConfigError:  # the batch does not divide over this many
        return None


def _costs(
    todo: Sequence[PlannedTrial], measurements: Measurements, target: Target, counts: Counts
) -> dict[str, TrialCost]:
    rows: dict[str, TrialCost | None] = {}
    costs: dict[str, TrialCost] = {}
    for trial in todo:
        name = shape(trial.identity)
        if name not in rows:
            rows[name] = _cost(trial, name, measurements, target, counts)
        cost = rows[name]
        if cost is not None:
            costs[trial.key] = cost
    return costs


def _cost(
    trial: PlannedTrial, name: str, measurements: Measurements, target: Target, counts: Counts
) -> TrialCost | None:
    processes, videos = processes_of(trial), counts(trial.config.data)
    if videos is None:
        return None
    todo = workload_of(trial.config, videos, target.kind, processes)
    cost = TrialCost(
        0.0, 0.0, devices_held(trial, target), todo.memory, todo.disk, todo.predictions, todo.checkpoint, "stated"
    )
    if name in measurements.same:
        runs = measurements.same[name]
        seconds = [run.seconds for run in runs]
        memory, disk = max(run.memory for run in runs), max(run.disk for run in runs)
        return replace(cost, low=min(seconds), high=max(seconds), memory=memory, disk=disk, basis="measured")
    if measurements.rate:
        slowest, fastest = measurements.slowest_and_fastest
        low = todo.operations / (max(fastest, measurements.rate * RATE_SPREAD) * processes)
        high = todo.operations / (min(slowest, measurements.rate / RATE_SPREAD) * processes)
        return replace(cost, low=low, high=high, basis="rate")
    if target.tflops is None:
        return None
    limits = _limits(todo, trial, target, processes)
    return replace(cost, low=limits[0].total, high=limits[1].total, limits=limits)


def _limits(todo: Workload, trial: PlannedTrial, target: Target, processes: int) -> tuple[Times, Times]:
    run = trial.config.run
    loaders = max(1, run.workers)  # each waits for one decoder
    cores = run.cpus if target.kind == "cpu" else min(run.cpus, loaders)
    best, worst = (
        times(todo, target, pipeline, processes=processes, cores=cores, precision=trial.config.recipe.precision)
        for pipeline in (ON_CPU if target.kind == "cpu" else (TUNED, IN_TURNS))
    )
    return best, worst


def devices_held(trial: PlannedTrial, target: Target) -> float:
    """Return how many GPUs, or CPU cores, a trial holds while it runs."""
    if target.kind == "cpu":
        return cpus_held(trial)
    run = trial.config.run
    return run.devices if trial.resources.gpu_number is None else trial.resources.gpu_number


def cpus_held(trial: PlannedTrial) -> float:
    """Return how many CPU cores a trial holds while it runs."""
    return trial.resources.cpus or processes_of(trial) * trial.config.run.cpus


def _slots(todo: Sequence[PlannedTrial], target: Target) -> int:
    """Return how many trials run at once: as many as the widest leaves room for, within the studies' limit.

    It is 0 if the widest does not fit at all.
    """
    widest = max((devices_held(trial, target) for trial in todo), default=1.0) or 1.0
    limits = [trial.resources.concurrent for trial in todo if trial.resources.concurrent]
    return min([int(target.count / widest + 1e-9), *limits])


def makespan(seconds: Sequence[float], at_once: int) -> float:
    """Return when the last of these trials ends, started in order as places become free."""
    free = [0.0] * max(1, at_once)
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


UNITS = {"gpuh": "gpu_hours", "h": "hours", "min": "hours", "d": "hours", "trials": "trials"}


def parse_budget(text: str) -> BudgetConfig:
    """Read ``40gpuh`` (device-hours), ``90min``, ``8h``, ``2d`` (wall clock) or ``12trials``.

    Raises:
        ConfigError: it is none of these.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
    unit = match[2] if match else None
    if match is None or unit not in UNITS or (unit == "trials" and "." in match[1]) or not float(match[1]):
        raise ConfigError(
            f"'{text}' is not a budget", key="--budget", choices=["40gpuh", "8h", "90min", "2d", "12trials"]
        )
    amount = float(match[1]) * {"min": 1 / 60, "d": 24.0}.get(unit, 1.0)
    return BudgetConfig.model_validate({UNITS[unit]: int(amount) if unit == "trials" else amount})


def select_within_budget(plan: Plan, costs: CostEstimate, budget: BudgetConfig) -> list[PlannedTrial]:
    """Return the trials that fit into a budget, in priority order; stops at the first trial that exceeds it.

    A trial without an estimate costs no device-hours but takes a slot; limits that are not set do not bind.
    """
    selected: list[PlannedTrial] = []
    hours, seconds = 0.0, []
    for trial in priority_order(plan):
        cost = costs.costs.get(trial.key)
        hours += cost.device_hours if cost else 0.0
        seconds.append(cost.seconds if cost else 0.0)
        if budget.trials is not None and len(selected) + 1 > budget.trials:
            break
        if budget.gpu_hours is not None and hours > budget.gpu_hours * (1 + 1e-9):
            break
        if budget.hours is not None and makespan(seconds, costs.at_once) > budget.hours * 3600 * (1 + 1e-9):
            break
        selected.append(trial)
    return selected
