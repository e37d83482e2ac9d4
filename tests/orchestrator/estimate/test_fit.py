"""What does not fit the devices: the plan says so, and a sweep writes nothing before it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab
from far.cpus import whole_cpus


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("devices", "at_once"), [(1, 0), (2, 0), (3, 0), (4, 1), (7, 1), (8, 2)])
def test_a_trial_of_four_gpus(devices: int, at_once: int, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["plan", "head_ratio", "--device", "a5000", "--devices", str(devices), "run.devices=4"]
    assert farlab.run([*call, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["price"]["at_once"] == at_once
    assert (plan["price"]["seconds"] is None) == (at_once == 0)
    wide = [text for text in plan["problems"] if "4 GPUs (4 processes)" in text]
    assert len(wide) == (at_once == 0)
    assert farlab.run(call) == 0
    assert ("finish: never" in capsys.readouterr().out) == (at_once == 0)


def test_what_this_machine_has_no_room_for_is_refused_before_anything_is_written(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = f"run.cpus={whole_cpus() + 1}"
    for call, code in (
        (["plan", "head_ratio", wide], 0), (["sweep", "-n", "head_ratio", wide], 0), (["sweep", "head_ratio", wide], 2),
    ):  # fmt: skip
        assert farlab.run(call) == code
        said = capsys.readouterr().err
        assert f"a trial takes {whole_cpus() + 1} CPUs" in said and "set run.devices, run.cpus or resources" in said
        assert not list(workspace.iterdir())
    assert farlab.run(["sweep", "head_ratio", "--executor", "local", "run.devices=2"]) == 2
    assert "cannot run in this process: a trial takes 2" in capsys.readouterr().err
    assert not list(workspace.iterdir())


def test_resources_of_the_study_count(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cpus = whole_cpus() + 0.5
    rows = "rows: {a: {}, b: {recipe.lr: 0.1}}"
    (workspace / "s.yaml").write_text(f"study: s\n{rows}\nresources: {{cpus: {cpus}}}\n")
    assert farlab.run(["plan", "s.yaml"]) == 0
    assert f"rows 'a', 'b' cannot run: a trial takes {cpus:g} CPUs (1 process)" in capsys.readouterr().err
