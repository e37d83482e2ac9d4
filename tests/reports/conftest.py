"""Stores filled with trials of known accuracy, written through the product's own paths and formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from far.randomness import numpy_rng
from far.store import correctness
from far.store.atomic import write_json
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import PlannedTrial, make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from orchestrator.workspace.settings import load_settings
from orchestrator.workspace.workspace import Workspace
from reports.results.collect import join
from reports.results.results import Results
from reports.results.trials import TrialRecord

VIDEOS, CLASSES = 200, 8
TOP5 = 0.95
"""Share of the videos whose label is among the first five, where enough are answered."""


def predictions(correct: np.ndarray, labels: np.ndarray, near: np.ndarray, views: int = 1) -> pa.Table:
    """Scores whose softmax mean picks the label where ``correct``, and the next class elsewhere.

    Where ``near``, the label comes second; in the other videos it comes last.
    """
    videos = len(labels)
    picked = np.where(correct, labels, (labels + 1) % CLASSES)
    logits = np.zeros((videos, views, CLASSES), dtype=np.float32)
    logits[near, :, labels[near]] = 1.0
    logits[np.arange(videos), :, picked] = 2.0
    ids = np.repeat([f"v{i:05d}" for i in range(videos)], views)
    return pa.table(
        {
            "id": ids.tolist(),
            "label": np.repeat(labels, views),
            "clip": np.tile(np.arange(views), videos),
            "crop": np.zeros(videos * views, dtype=np.int64),
            "logits": pa.array(list(logits.reshape(-1, CLASSES)), type=pa.list_(pa.float32())),
        }
    )


def finish(
    store: Store,
    trial: PlannedTrial,
    accuracy: float = 0.6,
    *,
    with_predictions: bool = True,
    with_answers: bool = True,
    unanswered: Sequence[int] = (),
    **changes: Any,
) -> None:
    """Write one finished trial whose videos share their difficulty with the other trials."""
    rng = numpy_rng(trial.seed, "outcome", trial.row)
    hard = numpy_rng(0, "difficulty").uniform(size=VIDEOS)
    correct = 0.7 * hard + 0.3 * rng.uniform(size=VIDEOS) < np.quantile(hard, accuracy)
    correct[list(unanswered)] = False
    labels = np.arange(VIDEOS) % CLASSES
    paths = store.paths(trial.key)
    paths.directory.mkdir(parents=True, exist_ok=True)
    answered = np.setdiff1d(np.arange(VIDEOS), unanswered)
    wrong = np.setdiff1d(np.flatnonzero(~correct), unanswered)
    near = np.zeros(VIDEOS, dtype=bool)
    near[wrong[: max(0, round(TOP5 * VIDEOS) - int(correct.sum()))]] = True
    ranks = np.where(correct, 1, np.where(near, 2, CLASSES))[answered]
    if with_predictions:
        pq.write_table(predictions(correct, labels, near).take(answered), paths.predictions)
    epochs = [
        {"epoch": e, "train_loss": 2.0 / (e + 1), "lr": 1e-3, "val_loss": 2.1 / (e + 1), "val_top1": 10.0 * e}
        for e in range(3)
    ]
    paths.metrics.write_text("".join(json.dumps(e) + "\n" for e in epochs))
    result = {
        "key": trial.key,
        "state": "finished",
        "identity": trial.identity,
        "config": trial.config.model_dump(mode="json"),
        "profile": trial.profile,
        "metrics": {"top1": 100 * float(correct.mean()), "top5": 100 * float((correct | near).mean()), "loss": 1.2},
        "answers": correctness.pack([f"v{i:05d}" for i in answered], ranks, CLASSES) if with_answers else None,
        "evaluated": VIDEOS - len(unanswered),
        "expected": VIDEOS,
        "epochs": trial.config.recipe.epochs,
        "flops": 123_456_789 + 1000 * len(trial.row),
        "params": 456_789,
        "seconds": 12.5,
        "peak_memory_bytes": 10**9,
        "data_hash": trial.identity["data"]["content"],
        "code": {"version": "0.1.0", "git": "abc1234", "dirty": False},
        "env": {"python": "3.11.7", "torch": "2.13.0", "device": "cpu"},
        "error": None,
        "attempts": [{}],
        "finished_at": "2026-11-01T12:00:00Z",
    }
    write_json(paths.result, {**result, **changes})


def with_trials(results: Results, change: Callable[[TrialRecord], TrialRecord]) -> Results:
    """Return results in which every trial, as it was collected, is another one."""
    return replace(results, collected={row: [change(t) for t in trials] for row, trials in results.collected.items()})


MakeResults = Callable[..., Results]


@pytest.fixture
def make_results(tmp_path: Path) -> MakeResults:
    """Return ``make(study, accuracies=…, skip=…, changes=…, …)``: a submitted study with a filled store."""
    return results_in(tmp_path)


def results_in(folder: Path) -> MakeResults:
    """Return what ``make_results`` is, in a folder that tests may share."""

    def make(
        study: str | Path = "head_ratio",
        accuracies: Mapping[str, float] | None = None,
        skip: set[tuple[str, int]] = frozenset(),  # type: ignore[assignment]
        changes: Mapping[tuple[str, int], Mapping[str, Any]] | None = None,
        seeds: int | list[int] = 2,
        submit: bool = True,
        **options: Any,
    ) -> Results:
        store = Store(folder / "runs")
        loaded = load_study(study, seeds=seeds, **options)
        plan = make_plan(loaded, store, manifest_hash=lambda data: "d" * 16)
        if submit:
            write_lockfile(plan, store)
        for trial in plan.trials:
            if (trial.row, trial.seed) not in skip:
                special = dict((changes or {}).get((trial.row, trial.seed), {}))
                finish(store, trial, (accuracies or {}).get(trial.row, 0.6), **special)
        plan = make_plan(loaded, store, manifest_hash=lambda data: "d" * 16)
        settings = load_settings(folder)
        return join(loaded, plan.trials, Workspace(settings, store), problems=plan.problems)

    return make
