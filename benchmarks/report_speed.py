"""Time and memory of a table from many finished trials: ``python benchmarks/report_speed.py [--trials N] [--json]``.

A store is filled with trials of Table 2 as training writes them, then ``farlab report --table 2`` runs in a process of
its own: first as after a sweep, then again. Goals for 10,000 trials: 2 s, process start included, and 500 MiB, and
growth that is linear: the seconds beyond the process start per trial, against those of the largest store.

``--full-size`` measures instead what reads predictions and manifests, in stores of 36 and 240 trials whose validation
set is Something-Something V2's: 24,777 videos of 174 classes, in a manifest of 220,847. Goals: the page in 10 s and
500 MiB, ``figure classes`` in 3 s.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from far.data.sources.manifest import Video, make_manifest, write_manifest
from far.source import source_of
from far.store import correctness
from far.store.attempts import Attempt
from far.store.records import Spec, with_start, write_result, write_spec
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study

STUDY, ROWS, VIDEOS, CLASSES = "attention_pattern", 6, 400, 10
SHARES = (0.1, 0.25, 0.5, 1.0)
FORMATS = ("json", "term", "html")
ANSWERS_KEPT, FULL_KEPT = 64, 7
"""Different prediction files: each trial has one of them, so that filling the store takes seconds."""
FULL_TRIALS, FULL_CLASSES = (36, 240), 174
FULL_SPLITS = {"train": 168_913, "val": 24_777, "test": 27_157}
REPEATS = 5
COMMAND = [sys.executable, "-c", "import farlab; farlab.main()"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full-size", action="store_true")
    arguments = parser.parse_args()
    if arguments.full_size:
        for trials in FULL_TRIALS:
            with tempfile.TemporaryDirectory(prefix="farlab-bench-") as folder:
                print(full_size(Path(folder), trials), flush=True)
        return
    runs = []
    for share in SHARES:
        with tempfile.TemporaryDirectory(prefix="farlab-bench-") as folder:
            runs.append(measure(Path(folder), int(arguments.trials * share), arguments.videos))
    whole = runs[-1]
    for run in runs:
        per_trial = [(each["again_s"] - each["start_s"]) / each["trials"] for each in (run, whole)]
        run["per_trial_ratio"] = per_trial[0] / per_trial[1]
    if arguments.json:
        print(json.dumps({"runs": runs, "videos": arguments.videos}, indent=1))
        return
    for run in runs:
        print(
            f"{run['trials']:>7,} trials of {arguments.videos} videos: first {run['first_s']:.2f} s, "
            f"again {run['again_s']:.2f} s ({run['again_cpu_s']:.2f} s of CPU; process start {run['start_s']:.2f} s), "
            f"peak {run['peak_mib']:.0f} MiB, seconds a trial {run['per_trial_ratio']:.2f} x those of the largest"
        )
    print(f"{whole['trials']:,} trials: " + ", ".join(f"{name} {whole[f'{name}_s']:.2f} s" for name in FORMATS))
    print(f"goals: <= 2 s: {max(whole['first_s'], whole['again_s']) <= 2}, <= 500 MiB: {whole['peak_mib'] <= 500}")


def measure(workspace: Path, trials: int, videos: int) -> dict[str, float]:
    """Fill a store with so many trials and time ``farlab report`` on it: medians, but for the first."""
    fill(Store(workspace / "runs"), trials // ROWS, videos)
    report = [*COMMAND, "report", "--table", "2", "--seeds", str(trials // ROWS), "--format"]
    start = median(workspace, [*COMMAND, "--version"])
    first = timed(workspace, [*report, "json"])
    found = {name: median(workspace, [*report, name]) for name in FORMATS}
    return {
        "trials": trials,
        "start_s": start[0],
        "first_s": first[0],
        "again_s": found["json"][0],
        "again_cpu_s": found["json"][1],
        **{f"{name}_s": each[0] for name, each in found.items()},
        "peak_mib": max(first[2], *(each[2] for each in found.values())),
    }


def full_size(workspace: Path, trials: int) -> str:
    """Fill a store at the size of Something-Something V2; say what the commands that read it take."""
    seeds, options = trials // ROWS, ["data.source=full", f"data.classes={FULL_CLASSES}"]
    filling = multiprocessing.Process(target=fill_full_size, args=(workspace, seeds, options))
    filling.start()  # a process of its own: a command's peak begins at what this one holds
    filling.join()
    asked = ["--table", "2", "--seeds", str(seeds), *options]
    commands = {
        "page": ["report", *asked, "--format", "html", "--output", "page/"],
        "figure classes": ["figure", "classes", *asked, "--output", "classes.png"],
        **{name: ["report", *asked, "--format", name] for name in FORMATS},
    }
    found = {name: min(timed(workspace, [*COMMAND, *command]) for _ in range(2)) for name, command in commands.items()}
    took = [f"{name} {wall:.1f} s ({cpu:.1f} s of CPU), {peak:.0f} MiB" for name, (wall, cpu, peak) in found.items()]
    return f"{trials} trials of {FULL_SPLITS['val']:,} videos: {'; '.join(took)}"


def fill_full_size(workspace: Path, seeds: int, options: Sequence[str]) -> None:
    """Write a manifest as long as Something-Something V2's, and the finished trials."""
    videos = [
        Video(f"{split}/{n:06d}", split, f"{n}.webm", n % FULL_CLASSES, 40, 12.0, 427, 240, f"{n:064x}")
        for split, count in FULL_SPLITS.items()
        for n in range(count)
    ]
    place = workspace / "data" / "full"
    place.mkdir(parents=True)
    labels = [f"Doing {n}" for n in range(FULL_CLASSES)]
    manifest = make_manifest(videos, labels, media_root=place, source="full", directory=place)
    write_manifest(manifest)
    fill(Store(workspace / "runs"), seeds, FULL_SPLITS["val"], manifest.content_hash, options)


def fill(store: Store, seeds: int, videos: int, content: str = "d" * 64, overrides: Sequence[str] = ()) -> None:
    """Write the finished trials; those of more than a thousand videos share files of predictions."""
    study = load_study(STUDY, profile="demo", seeds=seeds, overrides=overrides)
    plan = make_plan(study, store, manifest_hash=lambda data: content)
    write_lockfile(plan, store)
    rng = np.random.default_rng(0)
    classes = plan.trials[0].config.data.classes
    kept = [predictions(rng, videos, classes) for _ in range(ANSWERS_KEPT if videos <= 1000 else FULL_KEPT)]
    shared = [store.root / f"predictions-{n}" for n in range(len(kept))]
    for path, (scores, *_) in zip(shared, kept, strict=True):
        path.write_bytes(scores)
    configs = {trial.row: trial.config.model_dump(mode="json") for trial in plan.trials}
    for number, trial in enumerate(plan.trials):
        paths = store.paths(trial.key)
        paths.directory.mkdir(parents=True)
        _, packed, top1, top5 = kept[number % len(kept)]
        paths.predictions.hardlink_to(shared[number % len(kept)])
        result = {
            "key": trial.key, "state": "finished",
            "metrics": {"top1": top1, "top5": top5, "loss": 1.0}, "answers": packed,
            "evaluated": videos, "expected": videos, "unreadable": {}, "epochs": 6,
            "views": {"frames": 16, "clips": 1, "crops": 1}, "flops": 89_400_000, "params": 626_800, "seconds": 30.0,
            "steps": 600, "peak_memory_bytes": 10**9, "data_hash": content,
            "execution": {"world_size": 1, "micro_batch": 8, "precision": "fp32"},
            "code": {"version": "0.1.0", "git": "0" * 40, "dirty": False}, "init": None,
            "env": {"python": "3.11", "torch": "2.13.0", "deepspeed": "0.18", "device": "cpu"}, "error": None,
            "finished_at": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip
        source = source_of(trial.config)
        attempt: Attempt = {"started_at": "2026-01-01T00:00:00+00:00", "host": "a", "pid": 1, "epoch": 0,
                            "code": {"version": "0.1.0", "git": "0" * 40, "dirty": False}, "micro_batch": 8,
                            "frame_index": 3, "source": source.digest}  # fmt: skip
        config = {**configs[trial.row], "seed": trial.seed}
        spec: Spec = {"key": trial.key, "identity": trial.identity, "config": config, "profile": "demo"}
        write_spec(paths, with_start(spec, [attempt], source.as_json(), ["val"] * videos))
        write_result(paths, result, [attempt])


def predictions(
    rng: np.random.Generator, videos: int, classes: int = CLASSES
) -> tuple[bytes, dict[str, object], float, float]:
    """One trial's scores as a Parquet file, its packed answers, and both accuracies in percent."""
    logits = rng.normal(size=(videos, classes)).astype(np.float32)
    labels = np.arange(videos) % classes
    logits[np.arange(videos), labels] += 2
    ids = [f"val/{n:06d}" for n in range(videos)]
    table = pa.table(
        {
            "id": ids,
            "label": pa.array(labels, pa.int32()),
            "clip": pa.array([0] * videos, pa.int16()),
            "crop": pa.array([0] * videos, pa.int16()),
            "logits": pa.ListArray.from_arrays(np.arange(videos + 1, dtype=np.int32) * classes, logits.ravel()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    ranks = 1 + (logits > logits[np.arange(videos), labels][:, None]).sum(axis=1)
    accuracies = [100 * float((ranks <= k).mean()) for k in (1, 5)]
    return bytes(sink.getvalue()), correctness.pack(ids, ranks, classes), accuracies[0], accuracies[1]


def median(workspace: Path, command: list[str]) -> tuple[float, float, float]:
    """Return the run of median wall time among several."""
    return sorted(timed(workspace, command) for _ in range(REPEATS))[REPEATS // 2]


def timed(workspace: Path, command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its wall time and CPU time in seconds and its own peak memory in MiB."""
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.chdir(workspace)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execv(shutil.which(command[0]) or command[0], command)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
