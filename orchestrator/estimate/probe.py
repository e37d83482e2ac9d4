"""Probing a plan: a few steps of every distinct row that is not done, on this machine; kept as evidence."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from far.errors import FarError
from far.interpreter import child_environment, python_command
from far.store.atomic import read_json, write_json
from orchestrator.estimate.devices import find_target
from orchestrator.estimate.estimate import processes_of
from orchestrator.estimate.measurements import Probe, probes_file, shape
from orchestrator.estimate.workload import work
from orchestrator.plan.fingerprints import video_counts
from orchestrator.plan.plan import Plan, PlannedTrial
from orchestrator.store.store import Store
from orchestrator.workspace.settings import Settings

TIMEOUT = 600.0
"""Seconds that one row's probe may take."""


def probe_plan(plan: Plan, store: Store, settings: Settings) -> None:
    """Measure each distinct row once, one after another; rows that were probed before are measured anew.

    Raises:
        FarError: a probe failed; with the last thing it said.
    """
    rows = {shape(trial.identity): trial for trial in plan.missing()}
    path = probes_file(store)
    for number, (name, trial) in enumerate(rows.items(), start=1):
        print(f"probing {number}/{len(rows)}: {trial.row}", file=sys.stderr)
        known = [old for old in read_json(path, list[Probe]) or [] if old["shape"] != name]
        write_json(path, [*known, {"shape": name, **_probe(trial, settings)}])


def _probe(trial: PlannedTrial, settings: Settings) -> dict[str, Any]:
    config, kind, processes = trial.config, find_target(None).kind, processes_of(trial)
    with tempfile.TemporaryDirectory(prefix="farlab-probe-") as scratch:
        spec = Path(scratch) / "spec.json"
        roots = {"data_root": str(settings.data_root), "weights_root": str(settings.weights_root)}
        write_json(spec, {"config": config.model_dump(mode="json"), **roots})
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
    videos = video_counts(settings)(config.data)
    expected = work(config, videos, kind) if videos else None
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
