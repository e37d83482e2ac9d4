"""Searches, with real trials: persisted, resumed after a kill, pruned without polluting a table, analysed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.search.analysis import SearchResults, results
from orchestrator.store.store import Store
from orchestrator.study import load_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BASE = """
study: small
base:
  model: {depth: 2, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {global: 1}}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  recipe: {epochs: 3, batch_size: 8, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}
seeds: 1
"""
PRUNED = (
    BASE
    + """
rows: {given: {}}
search:
  space: {recipe.lr: {low: 1.0e-6, high: 1.0e-1, log: true}, model.interaction: {choices: [bottleneck, none]}}
  trials: 8
  pruner: median
  objectives: [{metric: loss, direction: minimize}]
"""
)
FRONT = (
    BASE
    + """
search:
  space:
    model.attention: {each_block: [{global: 1}, {sparse-dense: 1}, {global: 1, sparse-dense: 1}, {global: 1, sparse-dense: 2}]}
    model.heads: {choices: [6, 4]}
  trials: 6
  sampler: nsga2
  objectives: [{metric: top1, direction: maximize}, {metric: flops, direction: minimize}]
"""  # noqa: E501
)


REPORT = ("--study", "study.yaml", "--format", "json")


def front(found: SearchResults) -> list[Any]:
    return sorted(found.front, key=lambda trial: -trial.values[0])


def found(lab: Any) -> SearchResults:
    return results(load_study(lab.directory / "study.yaml"), Store(lab.store.root))


def tracked(lab: Any) -> dict[str, Any]:
    """Return the study's runs in MLflow by key; each is there once."""
    from mlflow import MlflowClient

    client = MlflowClient(lab.uri)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    named = {run.data.tags.get("farlab.key", "sweep"): run for run in runs}
    assert len(named) == len(runs)
    return named


def test_a_killed_search_goes_on_and_repeats_nothing(
    make_lab: Callable[..., Any], wait: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(PRUNED)
    monkeypatch.chdir(lab.directory)
    process = lab.start("study.yaml", "--executor", "local")
    wait(lambda: lab.epochs() >= 8)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = {trial.number: trial for trial in found(lab).trials}
    done = lab.sweep()
    assert done.returncode == 0, done.stderr
    after = found(lab)
    pruned = sum(trial.state == "pruned" for trial in after.trials)
    assert "9/9 trials finished" + (f", {pruned} of them pruned" if pruned else "") in done.stdout
    assert [trial.number for trial in after.trials] == list(range(8))
    assert {trial.state for trial in after.trials} <= {"finished", "pruned"}
    for trial in after.trials:
        if trial.number in before:
            assert trial.parameters == before[trial.number].parameters
    assert len({trial.key for trial in after.trials}) == 8  # nothing was proposed twice
    for trial in after.trials:
        state = lab.store.state(trial.key)
        assert state == {"finished": "finished", "pruned": "partial"}[trial.state]
        assert bool(trial.values) == (trial.state == "finished")
    (best,) = after.front
    assert best.values[0] == min(trial.values[0] for trial in after.trials if trial.values)
    assert set(after.importances["loss"]) <= {"recipe.lr", "model.interaction"}
    for arguments in ((), ("--rebuild",)):  # the proposals of earlier sweeps are mirrored as well
        synced = lab.call(*arguments, command="sync")
        assert synced.returncode == 0, synced.stderr
        runs = tracked(lab)
        assert sorted(runs) == sorted(["sweep", *lab.store.keys()])
        assert runs["sweep"].info.status == "FINISHED"
    table, searched, importance = json.loads(lab.call(*REPORT, command="report").stdout)
    assert [row["row"] for row in table["rows"]] == ["given"]  # a search's trials are no rows of the table
    finished = {f"search {trial.number}": trial for trial in after.trials if trial.values}
    assert {row["row"]: row["key"] for row in searched["rows"]} == {name: t.key for name, t in finished.items()}
    assert [row["row"] for row in searched["rows"] if row["front"]] == [f"search {best.number}"]
    assert {row["row"] for row in importance["rows"]} == set(after.importances["loss"])


def test_accuracy_against_cost_over_layouts_of_each_block(
    make_lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(FRONT)
    monkeypatch.chdir(lab.directory)
    done = lab.sweep("recipe.epochs=1")
    assert done.returncode == 0, done.stderr
    study = load_study(lab.directory / "study.yaml", overrides=["recipe.epochs=1"])
    after = results(study, Store(lab.store.root))
    finished = [trial for trial in after.trials if trial.state == "finished"]
    impossible = [trial for trial in after.trials if trial.state == "failed"]
    assert len(finished) == 6
    assert all(trial.key is None for trial in impossible)  # 1:2 does not divide four heads
    for trial in finished:
        layouts = lab.store.trial(trial.key)["config"]["model"]["attention"]
        assert [layouts[0], layouts[1]] == [json.loads(trial.parameters[f"model.attention[{b}]"]) for b in range(2)]
    (searched, _) = json.loads(lab.call(*REPORT, "recipe.epochs=1", command="report").stdout)  # there are no rows
    assert [row["values"]["flops"] for row in searched["rows"] if row["front"]] == [t.values[1] for t in front(after)]
    for a in after.front:
        assert not any(
            b.values[0] >= a.values[0] and b.values[1] <= a.values[1] and b.values != a.values for b in finished
        )


def test_no_two_proposals_of_a_restarted_search_are_alike(tmp_path: Path) -> None:
    from orchestrator.search.storage import sampler
    from orchestrator.study.schema import SearchConfig

    search = SearchConfig.model_validate({"space": {"recipe.lr": {"low": 0.1, "high": 1.0}}})
    import optuna

    drawn = set()
    for number in range(5):
        study = optuna.create_study(sampler=sampler(search, number))
        drawn.add(study.ask().suggest_float("x", 0, 1))
    assert len(drawn) == 5
