"""What running a sweep costs: ``python benchmarks/sweeps.py [--trials 6] [--epochs 2] [--skip shell] [--json]``.

All in one run, on trials that train hardly at all, so that what is left is the orchestration:

- *plain Tune*: the same training function, a Ray Tune trial and a fresh process each
- *shell loop*: the same function in a new Python process a trial, one after another
- *ours*: ``farlab sweep``, the whole command, data base and table included
- *marginal*: seconds of a further trial of ours, from the difference between one trial and all of them
- *first step*: seconds from the command to the first optimiser step, and CPU time of all processes until then, which
  changes less with what else runs on the machine
- *memory*: peak proportional set size of all processes of our sweep together, in MiB

With ``--repeat N`` the medians of N repetitions are shown, each of which takes all measurements in turn. Two trials
(``--trials 2 --epochs 1``) show whether everything works.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

DATA: dict[str, Any] = {"classes": 10, "demo": {"train_clips": 40, "val_clips": 20, "size": 32, "motion": 12.0}}
STUDY = """
study: empty
base:
  model: {{depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {{global: 1}}}}
  data: {data}
  recipe: {{epochs: {epochs}, batch_size: 8, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}}
rows: {{only: {{}}}}
seeds: {trials}
"""
ONE = """
import json, sys
from pathlib import Path
from far.config import TrialConfig
from far.store.paths import TrialPaths
from far.store.records import write_spec
from far.train.trial import TrialRun, run_trial
from far.distributed import join_world

def train(spec, directory, data):
    paths = TrialPaths(Path(directory))
    write_spec(paths, spec)
    world = join_world()
    config = TrialConfig.model_validate(spec["config"])
    run_trial(TrialRun(config, spec["identity"], paths, world, data_root=Path(data)))
"""
SHELL = ONE + "\ntrain(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3])\n"
GOALS = {
    "marginal, s a trial": 0.15,
    "first step, s": 5.0,
    "ours / plain Tune": 0.40,
    "ours / shell loop": 0.35,
}
"""Largest values that are wished for, on two cores that do nothing else."""
TUNE = (
    ONE
    + """
from ray import tune
specs, directory, data = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]

def trial(config):
    train(specs[config["n"]], f"{directory}/{config['n']}", data)
    return {"done": True}

results = tune.Tuner(
    tune.with_resources(trial, {"cpu": 1}),
    param_space={"n": tune.grid_search(list(range(len(specs))))},
    run_config=tune.RunConfig(storage_path=directory + "/tune", verbose=0),
).fit()
assert not results.errors, results.errors
"""
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--skip", nargs="*", default=[], choices=["shell", "tune"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    runs = []
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory(prefix="b") as folder:
            runs.append(measure(Path(folder), arguments.trials, arguments.epochs, arguments.skip))
    numbers = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    if arguments.json:
        print(json.dumps(numbers, indent=1))
        return
    for name, value in numbers.items():
        print(f"{name:32} {value:10.2f}{f'   goal: at most {GOALS[name]}' if name in GOALS else ''}")
    print(f"{'load of the machine, 1 minute':32} {os.getloadavg()[0]:10.2f}")


def measure(folder: Path, trials: int, epochs: int, skip: list[str]) -> dict[str, float]:
    """Return all figures of one repetition, in seconds, MiB, or as a ratio."""
    (folder / "study.yaml").write_text(STUDY.format(trials=trials, epochs=epochs, data=json.dumps(DATA)))
    (folder / "farlab.toml").write_text("")
    settings = [f"data.classes={DATA['classes']}", *(f"data.demo.{key}={value}" for key, value in DATA["demo"].items())]
    command(folder, "-m", "farlab", "data", "generate", *settings)
    ours, memory = watched(folder, "-m", "farlab", "sweep", "study.yaml")
    plan = json.loads(command(folder, "-m", "farlab", "plan", "study.yaml", "--json")[1])
    keys = list(dict.fromkeys(trial["key"] for trial in plan["trials"]))
    specs = [json.loads((folder / "runs" / "trials" / key / "trial.json").read_text()) for key in keys]
    one = folder / "one"
    one.mkdir()
    (one / "farlab.toml").write_text(f"data_root = '{folder / 'data'}'\n")
    first = first_step(one, "-m", "farlab", "sweep", "../study.yaml", "--seeds", "1")
    numbers = {
        "ours, s": ours,
        "ours, one trial, s": first.whole,
        "marginal, s a trial": (ours - first.whole) / max(trials - 1, 1),
        "first step, s": first.seconds,
        "first step, CPU s": first.cpu,
        "memory, MiB": memory,
    }
    data = str(folder / "data")
    if "tune" not in skip:
        numbers["plain Tune, s"] = command(folder, "-c", TUNE, json.dumps(specs), str(folder / "plain"), data)[0]
        numbers["ours / plain Tune"] = ours / numbers["plain Tune, s"]
    if "shell" not in skip:
        numbers["shell loop, s"] = sum(
            command(folder, "-c", SHELL, json.dumps(spec), str(folder / "shell" / str(n)), data)[0]
            for n, spec in enumerate(specs)
        )
        numbers["ours / shell loop"] = ours / numbers["shell loop, s"]
    return numbers


def command(folder: Path, *arguments: str) -> tuple[float, str]:
    """Run Python; return its wall clock in seconds and its output."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return time.perf_counter() - started, done.stdout


def watched(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run Python; return its wall clock and the peak of what all its processes hold together, in MiB."""
    peak, over = [0.0], threading.Event()
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL)

    def look() -> None:
        while not over.wait(0.5):
            held = 0
            try:
                for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                    held += one.memory_full_info().pss
            except psutil.Error:
                continue
            peak[0] = max(peak[0], held / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    code = process.wait()
    seconds = time.perf_counter() - started
    over.set()
    thread.join()
    if code:
        raise SystemExit(f"the sweep ended with {code}")
    return seconds, peak[0]


@dataclass(frozen=True)
class FirstStep:
    """When a sweep's first optimiser step was done: wall clock and CPU time of all processes; and its whole time."""

    seconds: float
    cpu: float
    whole: float


def first_step(folder: Path, *arguments: str) -> FirstStep:
    """Run a sweep and note its first optimiser step."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL)
    seconds = cpu = float("nan")
    while process.poll() is None:
        if math.isnan(seconds) and any(map(_trains, folder.glob("runs/trials/*/progress.json"))):
            seconds = time.perf_counter() - started
            cpu = 0.0
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    cpu += sum(each.cpu_times()[:4])  # its own, and that of its children that have ended
        time.sleep(0.02)
    return FirstStep(seconds, cpu, time.perf_counter() - started)


def _trains(progress: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads(progress.read_text())["phase"]) == "train"
    return False


if __name__ == "__main__":
    main()
