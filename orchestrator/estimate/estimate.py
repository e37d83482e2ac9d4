"""From work and evidence to a price: measured where the same row has run, else by rate, else by the device table."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from far.config import DataConfig
from orchestrator.estimate.devices import STEP_SECONDS, UTILISATION, Target
from orchestrator.estimate.measurements import Evidence, collect, shape
from orchestrator.estimate.workload import VIDEOS, Counts, work
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.store import Store

Basis = Literal["measured", "rate", "stated"]
"""``measured``: the same row ran or was probed on this kind of device; ``rate``: other rows did, scaled by
operations; ``stated``: operations over an assumed part of the data sheet's peak."""

MEMORY_SHARE = 0.9
"""Part of a GPU's memory that packed trials may fill."""


@dataclass(frozen=True)
class Price:
    """What one trial costs.

    Attributes:
        seconds: wall clock of the trial.
        devices: GPUs (or CPU cores) that it holds meanwhile.
        memory: peak bytes on one device.
        disk: bytes that it keeps.
        basis: where the figures come from.
    """

    seconds: float
    devices: float
    memory: int
    disk: int
    basis: Basis

    @property
    def device_hours(self) -> float:
        """GPU-hours; core-hours on a CPU."""
        return self.seconds * self.devices / 3600


@dataclass(frozen=True)
class Quote:
    """The price of everything that a plan has left to run.

    Attributes:
        target: the devices that it is for.
        prices: by key; a trial whose data nobody knows is left out.
        at_once: how many trials run at the same time; 0 if the widest does not fit the devices.
        fit: trials that fit into one GPU's memory at once (into the machine's on a CPU).
        seconds: until the last one has finished; None if the widest never starts.
        unknown: keys without a price.
    """

    target: Target
    prices: dict[str, Price]
    at_once: int
    fit: int | None
    seconds: float | None
    unknown: tuple[str, ...]

    @property
    def device_hours(self) -> float:
        """The sum over trials."""
        return sum(price.device_hours for price in self.prices.values())

    @property
    def disk(self) -> int:
        """The sum over trials in bytes."""
        return sum(price.disk for price in self.prices.values())

    @property
    def memory(self) -> int:
        """The largest trial's peak in bytes."""
        return max((price.memory for price in self.prices.values()), default=0)

    @property
    def is_estimate(self) -> bool:
        """Whether anything in it was not measured on the same row."""
        return any(price.basis != "measured" for price in self.prices.values())


def quote(plan: Plan, store: Store, target: Target, counts: Counts) -> Quote:
    """Price what a plan has left to run.

    Args:
        plan: the plan.
        store: its finished trials and probes are evidence.
        target: the devices to price for.
        counts: videos of a data set, None where it is not here.
    """

    def known(data: DataConfig) -> tuple[int, int] | None:
        return counts(data) or VIDEOS.get(data.source)

    todo = plan.missing()
    wanted: dict[str, list[str]] = {shape(trial.identity): [] for trial in todo}
    for trial in plan.unique() if todo else ():
        if trial.state == "finished" and (name := shape(trial.identity)) in wanted:
            wanted[name].append(trial.key)
    evidence = collect(store, target, known, wanted) if todo else Evidence()
    prices: dict[str, Price] = {}
    rows: dict[str, Price | None] = {}
    for trial in todo:
        name = shape(trial.identity)
        if name not in rows:
            rows[name] = _price(trial, name, evidence, target, known)
        price = rows[name]
        if price is not None:
            prices[trial.key] = price
    largest = max((price.memory for price in prices.values()), default=0)
    fit = int(MEMORY_SHARE * target.memory // largest) if largest else None
    at_once = _slots(todo, target)
    return Quote(
        target=target,
        prices=prices,
        at_once=at_once,
        fit=fit,
        seconds=makespan([prices[t.key].seconds for t in todo if t.key in prices], at_once) if at_once else None,
        unknown=tuple(trial.key for trial in todo if trial.key not in prices),
    )


def _price(trial: PlannedTrial, name: str, evidence: Evidence, target: Target, counts: Counts) -> Price | None:
    held = devices_held(trial, target)
    if name in evidence.same:
        runs = evidence.same[name]
        return Price(
            sum(run.seconds for run in runs) / len(runs),
            held,
            max(run.memory for run in runs),
            max(run.disk for run in runs),
            "measured",
        )
    videos = counts(trial.config.data)
    if videos is None:
        return None
    todo = work(trial.config, videos, target.kind)
    processes = processes_of(trial)
    if evidence.rate:
        return Price(todo.operations / (evidence.rate * processes), held, todo.memory, todo.disk, "rate")
    if target.tflops is None:
        return None
    cores = trial.config.run.cpus if target.kind == "cpu" else 1
    peak = target.tflops * 1e12 * processes * cores
    seconds = max(todo.operations / (peak * UTILISATION), STEP_SECONDS * todo.steps)
    return Price(seconds, held, todo.memory, todo.disk, "stated")


def processes_of(trial: PlannedTrial) -> int:
    """Return how many processes share a trial's work: one a GPU, or as many as ``run.devices`` says."""
    gpus = trial.resources.gpu_number
    return max(1, int(gpus)) if gpus else trial.config.run.devices


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
