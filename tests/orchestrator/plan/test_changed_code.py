"""Trials whose code has changed since: told, left out, accepted, run again; first on records, then by the real loop."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import far
import farlab
from far.config import TrialConfig
from far.errors import ConfigError
from far.source import Source, source_of
from far.store.attempts import Attempt
from far.store.paths import TrialPaths
from far.store.records import read_result, read_spec, with_start, write_result, write_spec
from orchestrator.cli.options import plan_targets
from orchestrator.plan.changed_code import CHANGED, CURRENT, UNKNOWN, accept, judge_trials
from orchestrator.plan.jobs import submit
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import Plan
from orchestrator.plan.rerun import run_again, set_aside
from orchestrator.workspace.workspace import Workspace

STUDY = """
study: small
base:
  model: {depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], interaction: none, classifier: global-mean}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  recipe: {epochs: 2, batch_size: 8, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}
rows: {A: {model.attention: {global: 1}}, B: {model.attention: {global: 1, temporal: 1}}}
baseline: A
seeds: 2
"""
PATTERN = "attention pattern 'temporal'"


@pytest.fixture
def lab(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Workspace]:
    """Two rows of two finished seeds, as the code here would have left them."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(STUDY)
    Path("farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    plan, workspace = plan_targets(["small.yaml"], None, None, generate=True)
    for trial in plan.trials:
        submit(workspace, trial)
        finish(workspace.store.paths(trial.key), trial.config, source_of(trial.config))
    return plan_targets(["small.yaml"], None, None, generate=True)


def finish(paths: TrialPaths, config: TrialConfig, *sources: Source) -> None:
    """Leave a finished trial whose starts ran these sources, each going on where the one before had come to."""
    spec = read_spec(paths)
    attempts: list[Attempt] = []
    for epoch, source in enumerate(sources):
        attempts.append({"epoch": epoch, "step": 0, "source": source.digest, "frame_index": 3})
        spec = with_start(spec, attempts, source.as_json(), [])
    write_spec(paths, spec)
    paths.metrics.write_text("")
    top1 = 40.0 + 10 * config.seed
    result = {"key": paths.key, "state": "finished", "metrics": {"top1": top1, "top5": 90.0, "loss": 1.0}}
    write_result(paths, {**result, "evaluated": 20, "expected": 20, "epochs": 2}, attempts)


def other(source: Source, *parts: str) -> Source:
    """Return the same source with other parts, which are then not here as they were."""
    return Source(
        {**source.parts, **dict.fromkeys(parts, "before")}, {**source.files, "far.architecture.patterns": "before"}
    )


def make_stale(lab: tuple[Plan, Workspace], *parts: str) -> str:
    """Let the first seed of B have run other code; return its key."""
    plan, workspace = lab
    trial = next(trial for trial in plan.trials if trial.row == "B")
    finish(workspace.store.paths(trial.key), trial.config, other(source_of(trial.config), *parts))
    return trial.key


def verdicts(lab: tuple[Plan, Workspace]) -> dict[str, Any]:
    plan, workspace = lab
    return judge_trials(workspace.store, ((trial.key, trial.config) for trial in plan.trials))


def said(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    assert farlab.run(arguments) == code
    both = capsys.readouterr()
    return " ".join((both.out + both.err).split())


def values(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert farlab.run(["report", "small.yaml", "-f", "json"]) == 0
    return {row["row"]: row["metrics"]["top1"]["values"] for row in json.loads(capsys.readouterr().out)["rows"]}


def test_the_remedy_can_be_typed_as_it_stands(lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str]) -> None:
    make_stale(lab, PATTERN)
    plan, workspace = lab
    write_lockfile(plan, workspace.store)
    commands = (["plan", "small.yaml", "--seeds", "0,1"], ["status"], ["report", "small.yaml"])
    found = [[text for text in said(command, capsys).split("`") if text.startswith("farlab ")] for command in commands]
    assert found == [found[0]] * 3
    sweep, accepts = (shlex.split(text)[1:] for text in found[0])
    assert sweep == ["sweep", "small.yaml", "--profile", "demo", "--seeds", "2", "--rerun", "changed"]
    assert farlab.run([*sweep, "-n"]) == 0
    assert farlab.run(accepts) == 0
    assert "changed since" not in said(["status"], capsys)


def test_a_change_is_told_and_left_out_until_it_is_accepted(
    lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert values(capsys) == {"A": [40.0, 50.0], "B": [40.0, 50.0]}
    assert "code unknown" not in said(["report", "small.yaml"], capsys)
    key = make_stale(lab, PATTERN)
    text = "the code of 'temporal' has changed since"
    for command in (["plan", "small.yaml"], ["report", "small.yaml"]):
        assert text in said(command, capsys) and "--rerun changed" in said(command, capsys)
    assert values(capsys) == {"A": [40.0, 50.0], "B": [50.0]}
    assert json.loads(said(["plan", "small.yaml", "--json"], capsys).split(" warning:")[0])["changed_code"] == {
        key: text
    }
    assert farlab.run(["report", "small.yaml", "--strict"]) == 3
    assert "1 trial counts as before" in said(["accept-code", "small.yaml"], capsys)
    assert values(capsys) == {"A": [40.0, 50.0], "B": [40.0, 50.0]}
    assert "a change of the code of 'temporal' that was accepted by" in said(["report", "small.yaml"], capsys)
    assert "nothing to accept" in said(["accept-code", "small.yaml"], capsys)


def test_a_trial_of_two_sources_is_of_neither(lab: tuple[Plan, Workspace]) -> None:
    plan, workspace = lab
    trial = plan.trials[0]
    here = source_of(trial.config)
    finish(workspace.store.paths(trial.key), trial.config, other(here, "far.train.engine"), here)
    verdict = verdicts(lab)[trial.key]
    assert (verdict.state, verdict.text) == (CHANGED, "the training code (far/train/engine.py) has changed since")


def test_what_was_accepted_once_stays_accepted_through_later_changes(lab: tuple[Plan, Workspace]) -> None:
    plan, workspace = lab
    key = make_stale(lab, PATTERN)
    here = source_of(plan.trials[0].config).parts
    found = verdicts(lab)
    first = replace(found[key], here={PATTERN: "between"})
    accept({key: first}, "small", workspace.store.root)  # an earlier change, to what is not here any more either
    assert verdicts(lab)[key].state == CHANGED
    accept({key: replace(found[key], parts={PATTERN: ("between",)})}, "small", workspace.store.root)
    assert verdicts(lab)[key].state == CURRENT
    assert here  # the row A is none of this


def test_trials_that_say_nothing_of_their_code_are_unknown_and_count(
    lab: tuple[Plan, Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    plan, workspace = lab
    paths = workspace.store.paths(plan.trials[0].key)
    spec = read_spec(paths)
    attempts: list[Attempt] = [{"epoch": 0}]
    write_spec(paths, {**spec, "attempts": attempts, "sources": {}})
    result = dict(read_result(paths) or {})
    write_result(paths, {**{k: v for k, v in result.items() if k != "sources"}}, attempts)
    assert verdicts(lab)[paths.key].state == UNKNOWN
    assert values(capsys)["A"] == [40.0, 50.0]
    for command in (["plan", "small.yaml"], ["report", "small.yaml"]):
        assert "code unknown" in said(command, capsys).lower() and "changed since" not in said(command, capsys)


@pytest.mark.parametrize(
    ("word", "rows"),
    [("changed", [("B", 0)]), ("A", [("A", 0), ("A", 1)]), ("KEY", [("B", 0)]), ("b", [("B", 0), ("B", 1)])],
)
def test_what_is_to_be_run_again(word: str, rows: list[tuple[str, int]], lab: tuple[Plan, Workspace]) -> None:
    key = make_stale(lab, PATTERN)
    plan = replace(lab[0], code=verdicts(lab))
    again = run_again(plan, [key[:6] if word == "KEY" else word])
    assert [(trial.row, trial.seed) for trial in again.missing()] == rows
    with pytest.raises(ConfigError, match="neither 'changed' nor a row"):
        run_again(plan, ["C"])


def test_what_a_trial_had_come_to_is_kept_aside(lab: tuple[Plan, Workspace]) -> None:
    plan, workspace = lab
    trial = replace(plan.trials[0], again=True)
    paths = workspace.store.paths(trial.key)
    (paths.checkpoints / "epoch-0002").mkdir(parents=True)
    (paths.checkpoints / "epoch-0002" / "weights").write_text("old")
    before = read_result(paths)
    submit(workspace, trial)
    kept = TrialPaths(paths.earlier / "1")
    assert workspace.store.state(trial.key) == "queued" and not paths.checkpoints.exists()
    assert read_result(kept, trial.key) == before
    assert (kept.checkpoints / "epoch-0002" / "weights").read_text() == "old"
    assert read_spec(paths)["attempts"] == [] and read_spec(kept)["attempts"]


def test_a_kill_while_it_is_kept_aside_loses_nothing(
    lab: tuple[Plan, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, workspace = lab
    paths = workspace.store.paths(plan.trials[0].key)
    names = {each.name for each in paths.directory.iterdir()} - {"writer.lock"}
    moved = []

    def rename(self: Path, target: Path) -> Path:
        moved.append(self.name)
        if len(moved) in (2, 3):
            raise KeyboardInterrupt
        return original(self, target)

    original = Path.rename
    monkeypatch.setattr(Path, "rename", rename)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            set_aside(paths)
    assert set_aside(paths) == 1
    assert {each.name for each in (paths.earlier / "1").iterdir()} == names
    assert set_aside(paths) == 0


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A copy of the package whose code can be edited."""
    root = Path(far.__file__).parents[1]
    for name in ("far", "farlab", "orchestrator", "reports", "studies"):
        shutil.copytree(root / name, tmp_path / "package" / name)
    yield tmp_path / "package"


SEVERAL = """
import contextlib, io, json, sys
import farlab

said = []
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = farlab.run(command)
    assert code == 0, err.getvalue()
    said += [out.getvalue(), err.getvalue()]
print(json.dumps(said))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_loop_of_everybody_with_an_idea(
    package: Path, tmp_path: Path, tiny_data: Path, mlflow_database: Path
) -> None:
    """Edit a pattern, run one more seed: the table does not average two patterns; accept, or run again."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "small.yaml").write_text(STUDY.replace("epochs: 2", "epochs: 1"))
    (folder / "farlab.toml").write_text(f"data_root = '{tiny_data}'\n")
    (folder / "runs").mkdir()
    shutil.copy(mlflow_database, folder / "runs")
    patterns = package / "far" / "architecture" / "patterns.py"

    def run(*commands: tuple[str, ...]) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", SEVERAL, json.dumps(commands)],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(package)}, text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout.splitlines()[-1]))

    def counted(said: str) -> tuple[dict[str, int], str]:
        table = json.loads(said)
        return {row["row"]: row["metrics"]["top1"]["n"] for row in table["rows"]}, json.dumps(table["notes"])

    sweep, report = ("sweep", "small.yaml", "--executor", "local"), ("report", "small.yaml", "-f", "json")
    run((*sweep, "--seeds", "1"))
    text = patterns.read_text()
    patterns.write_text(text.replace("np.arange(h * w).reshape", "np.arange(h * w)[::-1].copy().reshape"))
    assert patterns.read_text() != text
    _, swept, reported, _, _, planned = run(sweep, report, ("plan", "small.yaml"))
    assert "the code of 'temporal' has changed since: 1 trial is stale" in swept
    numbers, notes = counted(reported)
    assert numbers == {"A": 2, "B": 1}
    assert "Stale, and left out of every number: B seed 0: the code of 'temporal' has changed since" in notes
    key = next(iter(re.findall(r"[0-9a-f]{16}", planned)))

    shutil.copytree(folder / "runs", tmp_path / "kept")
    _, evaluated, _, _, reported, _ = run(("evaluate", key), ("accept-code", "small.yaml"), report)
    assert "old weights in new code: the code of 'temporal' has changed since" in evaluated
    numbers, notes = counted(reported)
    assert numbers == {"A": 2, "B": 2} and "was accepted by" in notes
    shutil.rmtree(folder / "runs")
    shutil.move(tmp_path / "kept", folder / "runs")

    _, _, reported, _ = run((*sweep, "--rerun", "changed"), report)
    numbers, notes = counted(reported)
    assert numbers == {"A": 2, "B": 2} and "changed since" not in notes
    assert read_result(TrialPaths(folder / "runs" / "trials" / key / "earlier" / "1"), key) is not None
