"""What a trial's run says in MLflow, made of the trial's records: name, parameters, metrics, tags, description."""

from __future__ import annotations

import json
import os
import pwd
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from far.redaction import redacted
from far.store.attempts import Code
from far.store.paths import TrialPaths
from far.store.records import Result, Spec
from orchestrator.tracking.tracked import Sweep, TrackedTrial

LAYOUT = "2"
"""Of a run's contents, in its tag ``farlab.layout``; runs without it have flat names, e.g. ``train_loss``."""
FIRST = "ablated/"
"""Prefix of the parameters in which rows differ; MLflow's pages sort parameters by name."""
STATUS = {"finished": "FINISHED", "partial": "KILLED"}
"""MLflow's status by result state; any other state is FAILED."""
EPOCH_METRICS = {
    "train_loss": "train/loss",
    "lr": "train/lr",
    "skipped_steps": "train/skipped_steps",
    "failed_videos": "train/unreadable_videos",
    "evaluated": "val/videos",
    "seconds": "cost/epoch_seconds",
    "train_seconds": "cost/epoch_seconds_train",
    "checkpoint_seconds": "cost/epoch_seconds_checkpoint",
}
"""Metrics of an epoch by their names in ``metrics.jsonl``; besides, ``val_NAME`` is ``val/NAME``."""
ONLY_IF_ANY = frozenset({"skipped_steps", "failed_videos"})
"""Counts of what went wrong: of no interest where they are zero, and then a chart that is a line at zero."""
FINAL_COSTS = ("seconds", "flops", "params", "peak_memory_bytes")
FINAL_VIDEOS = {"evaluated": "test/videos", "expected": "test/videos_expected"}
LONGEST_NAME = 200
"""Characters of a metric's name; MLflow takes 250."""
LONGEST_VALUE = 6000
"""Characters of a parameter's value in MLflow."""
LONGEST_TAG = 8000
"""Characters of a tag's value in MLflow."""
LONGEST_ERROR = 500
"""Characters of a trial's error in its tag."""


class Point(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    milliseconds: int
    """Since 1970."""
    step: int


def run_name(row: str, seed: int) -> str:
    """Return a run's name: the seed first, since MLflow's charts cut names after about ten characters."""
    return f"s{seed} · {row}"


# -- when --


def milliseconds(text: str | None) -> int | None:
    """Return a record's time as MLflow has it, None if it is none."""
    try:
        return int(1000 * datetime.fromisoformat(text).timestamp()) if text else None
    except ValueError:
        return None


def began(spec: Spec, epochs: Sequence[Mapping[str, Any]], result: Result | None) -> int | None:
    """Return when a trial was first started; of trials that do not say it, what their durations leave."""
    for attempt in spec.get("attempts") or []:
        if (started := milliseconds(attempt.get("started_at"))) is not None:
            return started
    ended = milliseconds((result or {}).get("finished_at"))
    if ended is not None and (seconds := (result or {}).get("seconds")):
        return ended - int(1000 * seconds)
    if epochs and (first := milliseconds(epochs[0].get("time"))) is not None:
        return first - int(1000 * (epochs[0].get("seconds") or 0))
    return ended


def ended(paths: TrialPaths, epochs: Sequence[Mapping[str, Any]], result: Result | None) -> int:
    """Return when a trial ended; of one that was interrupted, when it last showed a sign of life."""
    said = milliseconds((result or {}).get("finished_at"))
    if said is not None:
        return said
    signs = [milliseconds(epochs[-1].get("time"))] if epochs else []
    for path in (paths.progress, paths.result):
        try:
            signs.append(int(1000 * path.stat().st_mtime))
        except OSError:
            continue
    return max((sign for sign in signs if sign is not None), default=int(1000 * time.time()))


# -- metrics --


def epoch_points(record: Mapping[str, Any]) -> Iterator[Point]:
    """Yield the metrics of a finished epoch; steps count from 1."""
    now, step = milliseconds(record.get("time")) or int(1000 * time.time()), record["epoch"] + 1
    for name, value in record.items():
        if name in ("epoch", "time", "expected") or isinstance(value, bool) or (name in ONLY_IF_ANY and not value):
            continue
        if isinstance(value, int | float):
            yield Point(_epoch_metric(name), float(value), now, step)
    system = record.get("system")
    for name, value in system.items() if isinstance(system, Mapping) else ():
        if isinstance(value, int | float):
            yield Point(f"system/{name}", float(value), now, step)


def _epoch_metric(name: str) -> str:
    if name in EPOCH_METRICS:
        return EPOCH_METRICS[name]
    section, _, rest = name.partition("_")
    return f"{section}/{rest}" if rest and section in ("train", "val") else f"train/{name}"


def final_points(result: Result, now: int) -> Iterator[Point]:
    """Yield what came of a trial, each as a metric of one value, which MLflow draws as a bar."""
    values: dict[str, Any] = {f"test/{name}": value for name, value in (result.get("metrics") or {}).items()}
    values |= {name: result.get(key) for key, name in FINAL_VIDEOS.items()}
    values |= {f"cost/{name}": result.get(name) for name in FINAL_COSTS}
    for name, value in values.items():
        if value is not None:
            yield Point(name, float(value), now, 0)


def mean_points(means: Mapping[str, float]) -> Iterator[Point]:
    """Yield the means of a study's rows; characters that MLflow does not take in a name become underscores."""
    now, names = int(1000 * time.time()), set[str]()
    for name, value in means.items():
        clean = re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:LONGEST_NAME]
        while clean in names:
            clean += "_"
        names.add(clean)
        yield Point(clean, value, now, 0)


# -- parameters --


def parameters(sweep: Sweep, trial: TrackedTrial, spec: Spec) -> dict[str, str]:
    """Return a run's parameters: what differs between the rows first, then everything else by its dotted key."""
    flat = flattened(spec.get("config") or {})
    first = {FIRST + key: flat.pop(key) for key in sweep.varied if key in flat}
    values = {**first, "row": trial.row, "seed": trial.seed, **flat}
    return {name: _shown(value)[:LONGEST_VALUE] for name, value in values.items()}


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration by dotted keys, without the seed; a head layout is one value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and key != "attention":
            flat |= flattened(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" != "seed":
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    """Return a setting as a person writes it: ``global 1 : sparse-dense 1``, ``8, 32, 32``."""
    if isinstance(value, Mapping):
        return " : ".join(f"{name} {share}" for name, share in value.items())
    if isinstance(value, list | tuple):
        between = " | " if any(isinstance(each, Mapping) for each in value) else ", "
        return between.join(_shown(each) for each in value) or "[]"
    return str(value)


# -- tags --


def trial_tags(sweep: Sweep, trial: TrackedTrial, spec: Spec) -> dict[str, str]:
    """Return the tags that a run has from the beginning; none of them is empty."""
    code: Code = next((a["code"] for a in reversed(spec.get("attempts") or []) if a.get("code")), None) or {}
    tags = {
        "farlab.kind": "trial",
        "farlab.key": trial.key,
        "farlab.row": trial.row,
        "farlab.seed": str(trial.seed),
        "farlab.profile": sweep.profile,
        "farlab.layout": LAYOUT,
        **sweep.tags,
        **source_tags(sweep, TrialPaths(trial.directory).trial),
        **code_tags(code),
        "mlflow.note.content": _trial_note(sweep, trial, spec),
    }
    return {name: value for name, value in tags.items() if value}


def sweep_tags(sweep: Sweep) -> dict[str, str]:
    """Return the tags of a sweep's own run."""
    tags = {
        "farlab.kind": "sweep",
        "farlab.profile": sweep.profile,
        **sweep.tags,
        **source_tags(sweep, sweep.lockfile or sweep.state),
        "mlflow.note.content": _sweep_note(sweep),
    }
    return {name: value for name, value in tags.items() if value}


def result_tags(result: Result) -> dict[str, str]:
    """Return the tags of what came of a trial."""
    tags = {
        "farlab.state": result["state"],
        "farlab.attempts": str(result.get("starts") or 1),
        "farlab.error": redacted(str((result.get("error") or {}).get("message") or ""))[:LONGEST_ERROR],
        "farlab.error_kind": str((result.get("error") or {}).get("kind") or ""),
        **code_tags(result.get("code") or {}),
    }
    return {name: value for name, value in tags.items() if value}


def source_tags(sweep: Sweep, file: Path) -> dict[str, str]:
    """Return MLflow's tags of who ran this, and from what; the owner of the trial's files is who ran it."""
    return {
        "mlflow.user": _owner(file),
        "mlflow.source.name": redacted(sweep.source) or "farlab",
        "mlflow.source.type": "LOCAL",
    }


def code_tags(code: Code) -> dict[str, str]:
    """Return MLflow's tags of the code that ran."""
    tags = {"farlab.version": code.get("version") or "", "mlflow.source.git.commit": code.get("git") or ""}
    if code.get("git") and code.get("dirty") is not None:
        tags["mlflow.source.git.dirty"] = str(bool(code["dirty"])).lower()
    return {name: value for name, value in tags.items() if value}


def _owner(file: Path) -> str:
    for place in (file, file.parent):
        try:
            return pwd.getpwuid(place.stat().st_uid).pw_name
        except (OSError, KeyError):
            continue
    return os.environ.get("USER", "")


# -- descriptions, in Markdown --


def _trial_note(sweep: Sweep, trial: TrackedTrial, spec: Spec) -> str:
    study = f"study `{sweep.study}`" + (f" ({sweep.title})" if sweep.title else "")
    lines = [f"Row **{trial.row}**, seed {trial.seed}, of {study} at profile `{sweep.profile}`."]
    own = flattened(spec.get("config") or {})
    differs = [
        f"- `{key}`: **{_shown(own[key])}** instead of {_shown(sweep.reference.get(key))}"
        for key in sweep.varied
        if key in own and own[key] != sweep.reference.get(key)
    ]
    if sweep.baseline is not None and sweep.baseline in trial.row.split(" = "):
        lines.append("It is the baseline row.")
    elif sweep.baseline is not None and differs:
        lines += [f"It differs from the baseline row **{sweep.baseline}** in", "\n".join(differs)]
    again = f"farlab train {trial.directory.parent.parent.name}/trials/{trial.key}/trial.json"
    whole = f"; the whole study: `{redacted(sweep.command)}`" if sweep.command else ""
    lines.append(f"To run it again: `{again}`{whole}.")
    return "\n\n".join(lines)[:LONGEST_TAG]


def _sweep_note(sweep: Sweep) -> str:
    rows = list(dict.fromkeys(trial.row for trial in sweep.trials))
    lines = [
        f"Study `{sweep.study}`" + (f": {sweep.title}." if sweep.title else "."),
        f"Profile `{sweep.profile}`; {len(rows)} rows, {len(sweep.trials)} trials. The rows differ in "
        + (", ".join(f"`{key}`" for key in sweep.varied) or "nothing that the study sets")
        + ".",
    ]
    if sweep.command:
        lines.append(f"To run it again: `{redacted(sweep.command)}`.")
    return "\n\n".join(lines)[:LONGEST_TAG]


# -- the data set --


class DataSet(NamedTuple):
    """The data set behind a trial, as MLflow has it."""

    name: str
    digest: str
    source: str
    profile: str


def data_set(spec: Spec, result: Result | None) -> DataSet | None:
    """Return the data set of a trial, None until its content or its number of videos is known."""
    data: Mapping[str, Any] = (spec.get("config") or {}).get("data") or {}
    digest = (result or {}).get("data_hash") or ((spec.get("identity") or {}).get("data") or {}).get("content")
    counts = spec.get("videos")
    if counts is None and (expected := (result or {}).get("expected")) is not None:
        counts = {"val": expected}  # of a trial of an earlier version
    if not digest or not counts:
        return None
    source = str(data.get("source") or "demo")
    profile = {"num_rows": sum(counts.values()), **counts, "classes": data.get("classes")}
    name = redacted(source).rstrip("/").rpartition("/")[2] or source
    return DataSet(name, str(digest)[:36], json.dumps({"uri": redacted(source)}), json.dumps(profile))
