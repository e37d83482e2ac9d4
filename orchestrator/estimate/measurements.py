"""Speed measurements in the store: finished trials and probes on the same kind of device."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from far.config import TrialConfig
from far.config.identity import trial_key
from far.errors import ConfigError, FarError
from far.interpreter import child_environment, python_command
from far.plugins.kept import keep
from far.source import plugins_of
from far.store.atomic import read_json, write_json
from far.store.records import Result
from orchestrator.estimate.devices import Target, find_target
from orchestrator.estimate.workload import Counts, processes_of, workload_of
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.store import Store
from orchestrator.workspace.workspace import Workspace

SAMPLE = 200
"""Finished trials that are looked at for the rate, newest first."""

SAME = 3
"""Finished trials of one row that are looked at."""


@dataclass(frozen=True)
class Measured:
    """What one trial took."""

    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Probe:
    """What ``farlab plan --probe`` has measured of one shape of trial."""

    shape: str
    device: str
    devices: int
    seconds: float
    memory: int
    disk: int
    operations: float


@dataclass
class Measurements:
    """Measurements on one kind of device.

    Attributes:
        same: by the trial's identity without its seed.
        rates: operations of each trial that counts for the rate, and its seconds times its devices.
    """

    same: dict[str, list[Measured]] = field(default_factory=dict)
    rates: list[tuple[float, float]] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        """Operations per second of one device, over everything that was measured on it."""
        seconds = sum(seconds for _, seconds in self.rates)
        return sum(operations for operations, _ in self.rates) / seconds if seconds else None

    @property
    def slowest_and_fastest(self) -> tuple[float, float]:
        """Operations per second of one device: the slowest and the fastest trial."""
        rates = [operations / seconds for operations, seconds in self.rates if operations]
        return min(rates), max(rates)


def shape(identity: dict[str, Any]) -> str:
    """Return a name for a trial's identity without its seed: what costs the same."""
    return trial_key({key: value for key, value in identity.items() if key != "seed"})


def collect(plan: Plan, store: Store, target: Target, counts: Counts) -> Measurements:
    """Read finished trials on the target's kind of device: those of the plan's open rows, and the newest for the rate.

    Args:
        plan: the rest of it is estimated.
        store: where they lie.
        target: the devices that are estimated for.
        counts: videos of a data set.
    """
    measurements = Measurements()
    wanted: dict[str, list[str]] = {shape(trial.identity): [] for trial in plan.missing()}
    for trial in plan.unique() if wanted else ():
        if trial.state == "finished" and (name := shape(trial.identity)) in wanted:
            wanted[name].append(trial.key)
    first = [key for keys in wanted.values() for key in keys[:SAME]]
    for key in dict.fromkeys([*first, *_newest(store)]):
        result = store.result(key)
        if (
            result is not None
            and result["state"] == "finished"
            and target.same(str((result.get("env") or {}).get("device") or ""))
        ):
            _take(measurements, store, result, target, counts, wanted)
    for probe in read_json(probes_file(store), list[Probe]) or []:
        if target.same(probe["device"]):
            measured = Measured(probe["seconds"], probe["memory"], probe["disk"])
            measurements.same.setdefault(probe["shape"], []).append(measured)
            if probe["seconds"] > 0 and probe["operations"] > 0:
                measurements.rates.append((probe["operations"], probe["seconds"] * probe["devices"]))
    return measurements


def probes_file(store: Store) -> Path:
    """Return where probes are kept."""
    return store.root / "probes.json"


def _newest(store: Store) -> list[str]:
    paths = [(store.paths(key).result, key) for key in store.keys()]  # noqa: SIM118  (a method)
    times = [(path.stat().st_mtime, key) for path, key in paths if path.exists()]
    return [key for _, key in sorted(times, reverse=True)[:SAMPLE]]


def _take(
    measurements: Measurements,
    store: Store,
    result: Result,
    target: Target,
    counts: Counts,
    wanted: Collection[str],
) -> None:
    try:
        spec = store.trial(result["key"])
        config = TrialConfig.model_validate(spec["config"])
        seconds, memory = float(result["seconds"] or 0), int(result["peak_memory_bytes"] or 0)
        devices = int((result.get("execution") or {}).get("world_size") or config.run.devices)
        name = shape(spec["identity"] or {})
    except (ConfigError, KeyError, TypeError, ValueError):
        return  # of an older version, or of a plug-in that is not loaded: no evidence
    if name in wanted:
        files = (file for file in store.paths(result["key"]).directory.rglob("*") if file.is_file())
        disk = sum(file.stat().st_size for file in files)
        measurements.same.setdefault(name, []).append(Measured(seconds, memory, disk))
    videos = counts(config.data)
    if videos and seconds > 0:
        measurements.rates.append((workload_of(config, videos, target.kind).operations, seconds * devices))


TIMEOUT = 600.0
"""Seconds that one row's probe may take."""


def probe_plan(plan: Plan, workspace: Workspace) -> None:
    """Measure each distinct row once, one after another; rows that were probed before are measured again.

    Raises:
        FarError: a probe failed; with the last thing it said.
    """
    rows = {shape(trial.identity): trial for trial in plan.missing()}
    path = probes_file(workspace.store)
    for number, (name, trial) in enumerate(rows.items(), start=1):
        print(f"probing {number}/{len(rows)}: {trial.row}", file=sys.stderr)
        known = [old for old in read_json(path, list[Probe]) or [] if old["shape"] != name]
        write_json(path, [*known, {"shape": name, **_probe(trial, workspace)}])


def _probe(trial: PlannedTrial, workspace: Workspace) -> dict[str, Any]:
    settings = workspace.settings
    config, kind, processes = trial.config, find_target(None).kind, processes_of(trial)
    with tempfile.TemporaryDirectory(prefix="farlab-probe-") as scratch:
        spec = Path(scratch) / "spec.json"
        roots = {"data_root": str(settings.data_root), "weights_root": str(settings.weights_root)}
        plugins = keep((plugin.code for plugin in plugins_of(config)), Path(scratch))
        write_json(spec, {"config": config.model_dump(mode="json"), "plugins": plugins, **roots})
        command = python_command("-m", "far.train.probe", str(spec))
        try:
            done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise FarError(f"the probe of '{trial.row}' took more than {TIMEOUT:.0f} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise FarError(f"the probe of '{trial.row}' failed: {last}")
    measured = json.loads(lines[-1])
    videos = workspace.video_counts(config.data)
    expected = workload_of(config, videos, kind) if videos else None
    return {
        "device": measured["device"],
        "devices": 1,
        "seconds": measured["seconds"] / processes,
        "memory": measured["memory"],
        "disk": expected.disk if expected else 0,
        "operations": expected.operations / processes if expected else 0.0,
        "step_seconds": measured["step_seconds"],
        "view_seconds": measured["view_seconds"],
    }
