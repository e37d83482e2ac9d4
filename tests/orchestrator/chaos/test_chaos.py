"""The shipped chaos run, in its short form: faults strike a real sweep on Ray, and nothing is wrong afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from far.store.atomic import read_json, write_json
from orchestrator.chaos.faults import FAULTS
from orchestrator.chaos.invariants import finished_marks, run_again, violations
from orchestrator.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_sweep_survives_what_chaos_does_to_it(lab: Any) -> None:
    done = lab.run("study.yaml", "--kills", "2", "--seed", "5", "--period", "7", "--json", command="chaos", timeout=580)
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert len(report["strikes"]) == 2
    assert {strike["fault"] for strike in report["strikes"]} <= set(FAULTS)
    assert report["violations"] == []


def test_an_unknown_fault_is_refused(lab: Any) -> None:
    done = lab.run("study.yaml", "--fault", "worker kiled", command="chaos")
    assert done.returncode == 2
    assert "Did you mean 'worker killed'" in done.stderr


def test_the_checks_see_what_they_are_there_for(undisturbed: Any, make_lab: Callable[..., Any], tmp_path: Path) -> None:
    import shutil

    copy = Store(tmp_path / "runs")
    shutil.copytree(undisturbed.store.trials, copy.trials)
    shutil.copy(undisturbed.store.root / "store.id", copy.root)  # what its runs are known by
    assert violations(copy, undisturbed.store, undisturbed.uri) == []
    first, second, third = (copy.paths(key) for key in sorted(copy.keys()))
    before = finished_marks(copy)
    result = read_json(first.result)
    result["metrics"]["top1"] += 5.0
    write_json(first.result, result)
    second.predictions.write_bytes(b"other")
    third.metrics.write_bytes(third.metrics.read_bytes() * 2)
    wrong = "\n".join(violations(copy, undisturbed.store, undisturbed.uri))
    for key, what in ((first.key, "metrics is"), (second.key, "predictions differ"), (third.key, "metric history")):
        assert f"trial {key}: " in wrong
        assert what in wrong
    assert "has the steps" in wrong  # MLflow has not been told of epochs that were logged twice
    assert run_again(before, copy) == [f"trial {first.key} was finished and has been run again"]
    shutil.rmtree(first.directory)
    assert f"trial {first.key} is missing" in violations(copy, undisturbed.store, undisturbed.uri)
