"""Time and memory of a table from many finished trials: ``python benchmarks/reports.py [--trials 10000] [--json]``.

A store is filled with trials as the product writes them (result and per-video predictions), then ``farlab report``
runs in a process of its own: first cold, when every trial's predictions must be read, then as it is ever after.
Goals for 10,000 trials: 2 s and 500 MiB, and growth that is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from far.files import write_json
from orchestrator.plan import make_plan
from orchestrator.store import Store
from orchestrator.study import load_study

ROWS, VIDEOS, CLASSES = 5, 400, 10
ANSWERS_KEPT = 64
"""Different prediction files: each trial gets a copy of one, so that filling the store takes seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sizes = [arguments.trials // 4, arguments.trials // 2, arguments.trials]
    with tempfile.TemporaryDirectory(prefix="farlab-bench-") as folder:
        results = [measure(Path(folder) / str(size), size) for size in sizes]
    whole = results[-1]
    growth = whole["later_s"] / max(results[-2]["later_s"], 1e-9)
    if arguments.json:
        print(json.dumps({"runs": results, "growth_when_doubled": growth}, indent=1))
        return
    for run in results:
        print(
            f"{run['trials']:>7,} trials: first {run['first_s']:.2f} s, later {run['later_s']:.2f} s "
            f"({run['later_cpu_s']:.2f} s of CPU), "
            f"(process start {run['start_s']:.2f} s), peak {run['peak_mib']:.0f} MiB"
        )
    print(f"twice the trials take {growth:.2f} times as long")
    print(f"goals: later <= 2 s: {whole['later_s'] <= 2}, peak <= 500 MiB: {whole['peak_mib'] <= 500}")


def measure(workspace: Path, trials: int) -> dict[str, float]:
    """Fill a store with so many trials and time ``farlab report`` on it."""
    workspace.mkdir()
    study = workspace / "many.yaml"
    rows = "".join(f"  row {n}: {{model.drop_path: {n / 100}}}\n" for n in range(ROWS))
    study.write_text(f"study: many\nrows:\n{rows}seeds: {trials // ROWS}\n")
    fill(workspace, study)
    command = [sys.executable, "-c", "import farlab; farlab.main()", "report", "--study", str(study), "-f", "json"]
    start, _, _ = timed(workspace, [*command[:3], "--version"])
    first, _, peak_first = timed(workspace, command)
    later = sorted(timed(workspace, command) for _ in range(3))[1]
    return {
        "trials": trials,
        "start_s": start,
        "first_s": first,
        "later_s": later[0],
        "later_cpu_s": later[1],
        "peak_mib": max(peak_first, later[2]),
    }


def fill(workspace: Path, study: Path) -> None:
    """Write the finished trials."""
    store = Store(workspace / "runs")
    plan = make_plan(load_study(study, profile="demo"), store, manifest_hash=lambda data: "d" * 64)
    rng = np.random.default_rng(0)
    files = [predictions(rng) for _ in range(ANSWERS_KEPT)]
    config = plan.trials[0].config.model_dump(mode="json")
    for number, trial in enumerate(plan.trials):
        paths = store.paths(trial.key)
        paths.directory.mkdir(parents=True)
        paths.predictions.write_bytes(files[number % ANSWERS_KEPT])
        top1 = float(rng.normal(60, 2))
        result = {
            "key": trial.key, "state": "finished", "identity": trial.identity, "profile": "demo",
            "config": {**config, "seed": trial.seed}, "metrics": {"top1": top1, "top5": 95.0, "loss": 1.0},
            "evaluated": VIDEOS, "expected": VIDEOS, "epochs": config["recipe"]["epochs"], "flops": 89_400_000,
            "params": 626_800, "seconds": 30.0, "peak_memory_bytes": 10**9, "data_hash": "d" * 64,
            "code": {"version": "0.1.0", "git": "0" * 40, "dirty": False}, "env": {"python": "3.11"},
            "error": None, "attempts": [], "finished_at": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip
        write_json(paths.result, result)


def predictions(rng: np.random.Generator) -> bytes:
    """One trial's scores, as a Parquet file."""
    logits = rng.normal(size=(VIDEOS, CLASSES)).astype(np.float32)
    labels = np.arange(VIDEOS) % CLASSES
    logits[np.arange(VIDEOS), labels] += 2
    table = pa.table(
        {
            "id": [f"val/{n:06d}" for n in range(VIDEOS)],
            "label": pa.array(labels, pa.int32()),
            "clip": pa.array([0] * VIDEOS, pa.int16()),
            "crop": pa.array([0] * VIDEOS, pa.int16()),
            "logits": pa.array(list(logits), pa.list_(pa.float32())),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def timed(workspace: Path, command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its wall time and CPU time in seconds and its own peak memory in MiB."""
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.chdir(workspace)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execv(command[0], command)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
