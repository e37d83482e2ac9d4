"""How fast trials are mirrored into MLflow: beside a bare loop that makes the same calls, and beside training.

    python -m benchmarks.tracking                       # 3 pairs of 200 runs x 100 steps, SQLite
    python -m benchmarks.tracking --runs 10000 --pairs 1
    python -m benchmarks.tracking --uri http://127.0.0.1:5000

Each pair mirrors the same trials by the mirror, which reads them from a store's folders, and by a loop that has every
value in memory and does nothing but call MLflow; which goes first alternates. Both begin with an empty data base.
``--share`` measures instead how much of a trial's time the mirror takes while it follows the trial live: processor time
of the mirror's thread, with an epoch per ``--epoch-seconds``.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from far.config import resolve
from far.store.atomic import append_json_line, write_json
from far.store.paths import TrialPaths
from far.store.records import read_epochs, read_result, read_spec
from orchestrator.tracking import contents
from orchestrator.tracking.database import Database, is_database
from orchestrator.tracking.mirror import Mirror, connect
from orchestrator.tracking.runs import PARENT, clean_tags, experiment_of
from orchestrator.tracking.tracked import Sweep, TrackedTrial
from orchestrator.tracking.upload import log_data_set, log_values

START = datetime(2026, 1, 1, tzinfo=UTC)


def epoch(number: int, draw: random.Random) -> dict[str, Any]:
    return {
        "epoch": number,
        "time": (START + timedelta(seconds=60 * number)).isoformat(),
        **{name: draw.random() for name in ("train_loss", "lr", "val_top1", "val_top5", "val_loss")},
        "evaluated": 400,
        "expected": 400,
        **{name: 60 * draw.random() for name in ("train_seconds", "checkpoint_seconds", "seconds")},
        "system": {"cpu_utilization_percentage": 100 * draw.random(), "system_memory_usage_megabytes": 1e4},
    }


def write_trials(folder: Path, runs: int, steps: int, seed: int) -> list[TrackedTrial]:
    """Write finished trials as a sweep leaves them."""
    draw, config = random.Random(seed), resolve([]).model_dump(mode="json")
    trials = []
    for number in range(runs):
        key = f"{number:016x}"
        paths = TrialPaths(folder / "trials" / key)
        spec = {"key": key, "config": config, "identity": {"data": {"content": "d" * 64}}}
        attempt = {"started_at": START.isoformat(), "code": {"version": "0", "git": "c" * 40, "dirty": False}}
        write_json(paths.trial, {**spec, "attempts": [attempt], "videos": {"train": 800, "val": 400}})
        paths.metrics.write_text("".join(json.dumps(epoch(n, draw)) + "\n" for n in range(steps)))
        result = {
            "key": key, "state": "finished", "metrics": {"top1": 50.0, "top5": 90.0, "loss": 1.5}, "flops": 10**9,
            "params": 10**6, "seconds": 60.0 * steps, "peak_memory_bytes": 10**9, "evaluated": 400, "expected": 400,
            "answers": {}, "finished_at": (START + timedelta(seconds=60 * steps)).isoformat(),
        }  # fmt: skip
        write_json(paths.result, result)
        trials.append(TrackedTrial(key, f"row {number // 3}", number % 3, paths.directory))
    return trials


def sweep_of(trials: list[TrackedTrial], place: Path, name: str) -> Sweep:
    return Sweep(name, "demo", trials, place / "state.json", place / "mlartifacts", {"farlab.store": "s" * 32})


def mirrored(uri: str, sweep: Sweep) -> None:
    mirror = Mirror(uri, [sweep])
    if not mirror.close(timeout=600):
        raise SystemExit(f"not everything was taken: {mirror.reason}")


def bare(uri: str, sweep: Sweep) -> Callable[[], None]:
    """Return the loop, with all that it sends."""
    client, ready = connect(uri), []
    for trial in sweep.trials:
        paths = TrialPaths(trial.directory)
        spec, records, result = read_spec(paths), read_epochs(paths), read_result(paths)
        assert result is not None
        points = [point for record in records for point in contents.epoch_points(record)]
        points += contents.final_points(result, contents.ended(paths, records, result))
        tags = clean_tags(contents.trial_tags(sweep, trial, spec))
        ready.append((trial, spec, result, points, tags, contents.parameters(sweep, trial, spec), paths))

    def loop() -> None:
        experiment = experiment_of(client, Database(uri) if is_database(uri) else None, sweep)
        parent = client.create_run(experiment, tags=contents.sweep_tags(sweep)).info.run_id
        for trial, spec, result, points, tags, parameters, paths in ready:
            name = contents.run_name(trial.row, trial.seed)
            run = client.create_run(experiment, start_time=0, tags={**tags, PARENT: parent}, run_name=name)
            log_values(client, run.info.run_id, points, parameters, contents.result_tags(result))
            log_data_set(client, run.info.run_id, spec, result)
            for file in (paths.result, paths.trial, paths.metrics):
                client.log_artifact(run.info.run_id, str(file))
            client.set_terminated(run.info.run_id, end_time=1)
        client.set_terminated(parent)

    return loop


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    trials = write_trials(folder, arguments.runs, arguments.steps, arguments.seed)
    empty = folder / "empty.db"
    connect(f"sqlite:///{empty}")
    rates: dict[str, list[float]] = {"mirror": [], "bare loop": []}
    for pair in range(arguments.pairs):
        for name in ("mirror", "bare loop") if pair % 2 else ("bare loop", "mirror"):
            place = folder / f"{name}-{pair}"
            place.mkdir()
            uri = arguments.uri or f"sqlite:///{shutil.copy(empty, place / 'mlflow.db')}"
            sweep = sweep_of(trials, place, f"benchmark-{name.split()[0]}-{pair}-{time.time_ns()}")
            run = (lambda uri=uri, sweep=sweep: mirrored(uri, sweep)) if name == "mirror" else bare(uri, sweep)
            started = time.perf_counter()
            run()
            rates[name].append(arguments.runs / (time.perf_counter() - started))
            print(f"pair {pair + 1}, {name}: {rates[name][-1]:.2f} runs/s", flush=True)
    ratios = [a / b for a, b in zip(rates["mirror"], rates["bare loop"], strict=True)]
    print(
        f"{arguments.runs} runs x {arguments.steps} steps, {arguments.pairs} pairs: mirror / bare loop "
        f"{statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"
    )


def share(arguments: argparse.Namespace, folder: Path) -> None:
    """Follow a trial live whose epochs come one by one."""
    [trial] = write_trials(folder, 1, 1, arguments.seed)
    paths, draw = TrialPaths(trial.directory), random.Random(arguments.seed)
    result = paths.result.read_bytes()
    paths.result.unlink()
    write_json(paths.progress, {"phase": "train", "done": 0, "total": 1})
    mirror = Mirror(f"sqlite:///{folder / 'mlflow.db'}", [sweep_of([trial], folder, "live")])
    before = time.process_time()  # beside the mirror's thread this process sleeps
    mirror.start()
    while not (folder / "state.json").exists():
        time.sleep(0.1)
    fixed = time.process_time() - before
    started = time.monotonic()
    for number in range(1, arguments.steps):
        time.sleep(arguments.epoch_seconds)
        append_json_line(paths.metrics, epoch(number, draw))
    wall = time.monotonic() - started
    paths.result.write_bytes(result)
    if not mirror.close():
        raise SystemExit(mirror.reason)
    cpu = time.process_time() - before - fixed
    print(
        f"{arguments.steps} epochs in {wall:.0f} s: {cpu:.2f} s of processor time, {100 * cpu / wall:.2f} %; "
        f"once per sweep {fixed:.2f} s (importing MLflow, making the data base)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--uri", help="a tracking server; default: SQLite")
    parser.add_argument("--share", action="store_true", help="of a trial's time, while it is followed live")
    parser.add_argument("--epoch-seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="farlab-tracking-") as folder:
        (share if arguments.share else compare)(arguments, Path(folder))


if __name__ == "__main__":
    main()
