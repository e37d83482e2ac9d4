"""The command line as a user meets it: what there is, what a wrong call gets, and that nothing heavy is loaded."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import farlab

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "ray", "mlflow", "deepspeed", "optuna", "sklearn", "transformers", "matplotlib")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "farlab"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def loaded_by(*arguments: str) -> list[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import farlab; farlab.run({list(arguments)!r}); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return eval(done.stderr.strip().splitlines()[-1])


def test_the_commands_that_users_rely_on() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("sweep", "plan", "validate", "report", "cost", "train", "evaluate", "status", "logs", "ui"):
        assert f"\n│ {command} " in done.stdout, command


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("nope",), ("nope",)),
        (("sweep", "--nope", "x"), ("--nope",)),
        (("sweep", "studies/missing.yaml"), ("studies/missing.yaml", "no such file")),
        (("sweep", "head_ratio", "model.atention=1"), ("model.atention", "'attention'")),
        (("sweep", "head_ratio", "--profile", "dem"), ("'dem'", "'demo'")),
        (("sweep", "head_ratio", "--seeds", "x"), ("--seeds",)),
        (("report", "--table", "9"), ("--table", "9")),
        (("evaluate", "nothing"), ("nothing",)),
    ],
)
def test_a_wrong_call_exits_2_and_says_what_is_wrong(
    arguments: tuple[str, ...], names: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    for name in names:
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "a call that does nothing leaves nothing behind"


@pytest.mark.parametrize("arguments", [("--help",), ("sweep", "head_ratio", "model.x=1"), ("validate", "head_ratio")])
def test_nothing_heavy_is_loaded_to_say_so(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments) == []


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (("--help",), set()),
        (("data", "--help"), set()),
        (("validate", "nothing.yaml"), {"orchestrator.commands.validate"}),
        (("data", "stats", "nothing"), {"orchestrator.commands.data.stats"}),
    ],
)
def test_a_command_is_loaded_when_it_is_called(arguments: tuple[str, ...], modules: set[str]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import farlab; farlab.run({list(arguments)!r}); "
        "print([name for name, module in sys.modules.items() if '.commands.' in name "
        "and not hasattr(module, '__path__')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert set(eval(done.stderr.strip().splitlines()[-1])) == modules


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    def compare(group: Any) -> None:
        outline = group.commands.outline()
        for name, command in group.commands.items():
            assert inspect.cleandoc(outline[name].help) == command.help, name
            if hasattr(command, "commands"):
                compare(command)

    compare(farlab.build_app())


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("farlab 0.")
