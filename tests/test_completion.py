"""What a shell offers while a command is typed, asked as its own script asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import farlab
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace in which a study was submitted, of which one trial has begun."""
    (tmp_path / "quick.yaml").write_text("study: quick\nrows: {near: {}, far: {recipe.lr: 0.1}}\nseeds: 2\n")
    store = Store(tmp_path / "runs")
    plan = make_plan(load_study(tmp_path / "quick.yaml"), store, manifest_hash=lambda data: "d")
    write_lockfile(plan, store)
    store.write_trial(plan.trials[0].key, {"key": plan.trials[0].key})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    words = line.split(" ")
    monkeypatch.setenv("_FARLAB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit) as ended:
        farlab.run([])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.split()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("farlab sw", ["sweep"]),
        ("farlab data st", ["stats"]),
        ("farlab plan --see", ["--seeds"]),
        ("farlab plan qui", ["quick", "quick.yaml"]),
        ("farlab plan head", ["head_ratio"]),
        ("farlab status q", ["quick"]),
        ("farlab status --row n", ["near"]),
        ("farlab show quick/far/", ["quick/far/0", "quick/far/1"]),
        ("farlab diff near", []),
        ("farlab gc opt", ["optimizer"]),
        ("farlab gc --keep qui", ["quick", "quick/far/0", "quick/far/1", "quick/near/0", "quick/near/1"]),
        ("farlab plan --profile dem", ["demo"]),
        ("farlab completion z", ["zsh"]),
    ],
)
def test_names_are_offered_that_begin_as_typed(
    place: Path, line: str, names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(offered(line, monkeypatch, capsys)) == names


def test_a_key_is_offered(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (key,) = Store(place / "runs").keys()
    assert offered(f"farlab logs {key[:3]}", monkeypatch, capsys) == [key]


def test_a_wrong_farlab_toml_is_no_matter_for_a_shell(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "farlab.toml").write_text("nonsense = [")
    assert offered("farlab show qui", monkeypatch, capsys) == []


@pytest.mark.parametrize(("line", "modules"), [("farlab s", 0), ("farlab gc op", 1)])
def test_it_loads_the_command_at_hand_and_nothing_heavy(place: Path, line: str, modules: int) -> None:
    code = (
        "import atexit, os, sys, farlab\n"
        "heavy = ('torch', 'ray', 'mlflow', 'deepspeed', 'optuna', 'pandas')\n"
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules], len([n for n, m in sys.modules.items() "
        "if '.commands.' in n and not hasattr(m, '__path__')]), file=sys.stderr))\n"
        f"os.environ |= {{'_FARLAB_COMPLETE': 'complete_bash', 'COMP_WORDS': {line!r}, "
        f"'COMP_CWORD': {str(len(line.split()) - 1)!r}}}\n"
        "farlab.run([])"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.stderr.strip() == f"[] {modules}", done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_FARLAB_COMPLETE=complete_{shell}" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
