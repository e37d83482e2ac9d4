"""Nothing is typed in vain: whatever a command is given has an effect, or is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import farlab
from orchestrator.cli.inputs import spelling

COMMANDS = dict(farlab.leaves(farlab.build_app()))

CALLS: dict[tuple[str, ...], list[list[str]]] = {
    ("plan",): [["head_ratio", "--probe"], ["head_ratio"]],
    ("sweep",): [["head_ratio", "--executor", "local"], ["head_ratio"]],
    ("status",): [["--json"], []],
    ("resume",): [["x", "--executor", "local"], ["x"]],
    ("retry",): [["x", "--failed", "--executor", "local"], ["x", "--failed"]],
    ("cancel",): [["x", "--row", "1:1"], ["x"]],
    ("report",): [
        ["-t", "5", "--explain", "1:1", "top1"],
        ["-t", "5", "--serve"],
        ["-t", "5", "--watch"],
        ["-t", "5", "-f", "latex"],
        ["-t", "5"],
    ],
    ("figure",): [["2"], ["pareto"], ["curves"]],
    ("power",): [["--paper"], ["-t", "5"], []],
    ("predict",): [["0", "--split", "test"], ["0"]],
    ("data", "prepare"): [["folder", "clips", "--resize", "320"], ["folder", "clips"]],
}
"""A call of every branch of every command that has some, in the order in which they are declared."""

VALUES = {
    "targets": ["recipe.epochs=3"], "device": ["a100-80g"], "tflops": ["130"],
    "address": ["auto"], "watch": [], "timeout": ["3"],
    "profile": ["demo"], "format_": ["md"], "interval": ["3"], "strict": [], "table": ["5"], "study": ["head_ratio"],
    "seeds": ["2"], "store": ["runs"], "video": ["v.mp4"], "difference": ["0.5"], "videos": ["100"], "goal": ["0.9"],
    "seed_sd": ["0.1"], "disagreement": ["5"], "rows": ["4"], "trust": [], "columns": ["top1"],
    "latex_width": ["column"], "latex_engine": ["xelatex"], "latex_siunitx": [], "latex_caption": ["below"],
    "data": ["mine"], "into": ["small"], "quoted": [], "port": ["0"], "output": ["x.html"],
}  # fmt: skip
"""A value that would be right where the parameter has an effect."""


def switches(words: tuple[str, ...], name: str) -> bool:
    """Whether giving this parameter takes a branch."""
    command = COMMANDS[words]
    given = {param.name: None for param in command.params} | {name: "given"}
    return any(branch.when is not None and branch.when(given) for branch in command.callback.modes)


def vain() -> list[Any]:
    found = []
    for words, calls in CALLS.items():
        for call, branch in zip(calls, COMMANDS[words].callback.modes, strict=True):
            for param in COMMANDS[words].params:
                if param.expose_value and param.name not in branch.uses and not switches(words, param.name):
                    found.append(pytest.param(words, call, param, id=f"{' '.join([*words, *call])} {param.name}"))
    return found


def test_every_branch_is_called_here_and_every_input_has_one() -> None:
    for words, command in COMMANDS.items():
        branches = getattr(command.callback, "modes", ())
        assert len(CALLS.get(words, [])) == len(branches), words
        names = {param.name for param in command.params if param.expose_value}
        if branches:
            assert set().union(*(branch.uses for branch in branches)) == names, words


@pytest.mark.parametrize(("words", "call", "param"), vain())
def test_what_a_branch_does_not_look_at_is_refused(
    words: tuple[str, ...], call: list[str], param: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    option = [spelling(param)] if param.param_type_name == "option" else []
    assert farlab.run([*words, *call, *option, *VALUES[param.name]]) == 2
    said = capsys.readouterr().err
    assert f"{spelling(param)}: has no effect" in said
    assert not list(tmp_path.iterdir()), "refused before anything is done"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["plan", "head_ratio", "--seeds", "1", "--seeds", "2"], "--seeds: is given twice"),
        (["report", "-t", "5", "-p", "demo", "--profile", "csv"], "--profile: is given twice"),
        (["plan", "head_ratio", "recipe.epochs=2", "recipe.epochs=3"], "recipe.epochs: is set twice"),
        (["plan", "head_ratio", "recipe.epochs=2", "recipe={epochs: 3}"], "recipe.epochs: is set twice"),
        (["train", "demo", "-n", "recipe.lr=1", "recipe.lr=2"], "recipe.lr: is set twice"),
        (["cost", "recipe.lr=1", "recipe.lr=2"], "recipe.lr: is set twice"),
        (["power", "nonsense"], "unknown study 'nonsense'"),
        (["power", "recipe.epoch=3"], "recipe.epoch"),
        (["plan", "head_ratio", "--devices", "0"], "--devices"),
        (["report", "-t", "1", "--profile", "nonsense"], "--profile: has no effect"),
        (["report", "--all", "-t", "5"], "--table: has no effect"),
        (["report", "-t", "5", "--store", "/nonexistent"], "--store"),
        (["figure", "curves", "-t", "5", "--rows", "nonsense"], "no row 'nonsense'"),
        (["figure", "pareto", "-t", "5", "--rows", "nonsense"], "no row 'nonsense'"),
        (["figure", "order", "-t", "5", "--rows", "nonsense"], "no row 'nonsense'"),
        (["figure", "curves"], "name one study: STUDY or --table N"),
        (["figure", "curves", "-t", "5", "-o", "c.xyz"], "'c.xyz' is no picture"),
        (["explain", __file__, "-t", "5", "-o", "c.xyz"], "'c.xyz' is no picture"),
        (["explain", __file__], "name one study: --study STUDY or --table N"),
        (["explain", __file__, "-t", "5", "--set", "head_ratio"], "'head_ratio' is no KEY=VALUE"),
        (["power", "-d", "nan"], "--difference: nan"),
        (["cancel", "x", "--timeout", "inf"], "--timeout: inf"),
        (["ui", "--port", "99999"], "--port"),
        (["ui", "--tracking-uri", "http://127.0.0.1:1", "--port", "5001"], "--port: has no effect"),
    ],
)
def test_a_contradiction_is_an_error(
    call: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert farlab.run(call) == 2
    assert said in capsys.readouterr().err


STUDY = "study: q\nrows: {a: {}, b: {recipe.lr: 0.1}}\nseeds: 1\n"
CALLED_WITH: dict[tuple[str, ...], list[str]] = {
    ("chaos",): ["q.yaml"], ("resume",): ["q"], ("retry",): ["q", "--failed"], ("cancel",): ["q"],
    ("plan",): ["q.yaml"], ("accept-code",): ["q.yaml"],
    ("status",): [], ("logs",): ["0"], ("sweep",): ["q.yaml", "--dry-run"], ("sync",): [], ("train",): ["demo", "-n"],
    ("predict",): ["0", "q.yaml"], ("promote",): ["0"],
    ("evaluate",): ["0"], ("ui",): [], ("validate",): ["q.yaml"], ("cost",): [], ("figure",): ["curves", "q.yaml"],
    ("explain",): ["q.yaml", "--study", "q.yaml"], ("power",): [], ("report",): ["q.yaml"],
    ("data", "prepare"): ["folder", "clips"],
    ("data", "check"): [], ("data", "accept"): ["mine"], ("data", "stats"): [], ("data", "generate"): [],
    ("data", "sample"): [], ("new",): ["fresh"], ("check-plugin",): ["ideas.py"],
    ("show",): ["0"], ("doctor",): [], ("completion",): ["bash"], ("gc",): [],
    ("export",): ["q", "-o", "x"], ("diff",): ["q", "q.yaml"],
    ("study", "schema"): [], ("verify",): ["q.yaml"], ("weights", "inspect"): ["q.yaml"],
    ("weights", "convert"): ["q.yaml", "q.yaml/out.safetensors"],
}  # fmt: skip
"""Of every command, a call that gets as far as its inputs."""

NONSENSE: dict[str, list[str]] = {
    "targets": ["nonsense"], "studies": ["nonsense"], "study": ["nonsense"], "overrides": ["nonsense=1"],
    "override": ["nonsense=1"],
    "what": ["nonsense"], "keep": ["nonsense"], "first": ["nonsense"], "shell": ["nonsense"], "second": ["nonsense"],
    "video": ["nonsense"], "trial": ["nonsense"], "checkpoint": ["nonsense"], "config": ["nonsense"],
    "file": ["nonsense"], "plugin": ["nonsense"], "into": ["q.yaml/x"],
    "source": ["nonsense"],
    "layout": ["nonsense"], "folder": ["nonsense"], "videos": ["nonsense"], "name": [".."], "alias": ["v1"],
    "profile": ["nonsense"],
    "seeds": ["x"], "seed": ["-1"], "kills": ["0"], "period": ["0"], "fault": ["nonsense"], "executor": ["nonsense"],
    "row": ["nonsense"], "rows": ["nonsense"], "id_": ["nonsense"], "state": ["nonsense"], "budget": ["nonsense"],
    "device": ["nonsense"], "devices": ["0"], "tflops": ["-1"], "rerun": ["nonsense"],
    "timeout": ["-1"], "tracking_uri": ["nonsense"], "port": ["99999"],
    "host": ["203.0.113.1"], "table": ["99"], "store": ["nonsense"], "from_": ["nonsense"], "format_": ["nonsense"],
    "output": ["q.yaml/x.png"], "out": ["q.yaml/x/x.png"], "explain": ["nonsense", "top1"], "interval": ["0"],
    "data": ["nonsense"], "top": ["0"],
    "views": ["nonsense"], "order": ["nonsense"], "split": ["nonsense"], "count": ["0"], "clip": ["0"],
    "family": ["nonsense"], "files": ["nonsense"], "columns": ["nonsense"],
    "latex_width": ["nonsense"], "latex_engine": ["nonsense"], "latex_caption": ["nonsense"],
    "resize": ["0"],
    "difference": ["0"], "seed_sd": ["-1"], "disagreement": ["200"], "goal": ["2"], "frames": ["0"], "target": ["-1"],
}  # fmt: skip
"""A value of every parameter that cannot be right, wherever it is looked at."""


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which a study was submitted."""
    from orchestrator.plan.lockfile import write_lockfile
    from orchestrator.plan.plan import make_plan
    from orchestrator.store.store import Store
    from orchestrator.study import load_study

    place = tmp_path_factory.mktemp("submitted")
    (place / "q.yaml").write_text(STUDY)
    store = Store(place / "runs")
    write_lockfile(make_plan(load_study(place / "q.yaml"), store, manifest_hash=lambda data: "d"), store)
    return place


SAID_OTHERWISE = {"address": "what it names is asked for when a sweep starts; a dry run prints it"}


@pytest.mark.parametrize(
    ("words", "param"),
    [
        pytest.param(words, param, id=f"{' '.join(words)} {param.name}")
        for words, command in COMMANDS.items()
        for param in command.params
        if param.expose_value and not getattr(param, "is_flag", False) and param.name not in SAID_OTHERWISE
    ],
)
def test_no_value_is_taken_without_a_look(
    words: tuple[str, ...], param: Any, submitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Every parameter of every command refuses what cannot be; a new one is listed above, or fails here."""
    shutil.copytree(submitted, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    call = CALLED_WITH[words]
    if param.param_type_name == "option":
        call = [*call, spelling(param), *NONSENSE[param.name]]
    else:
        positional = [each.name for each in COMMANDS[words].params if each.param_type_name == "argument"]
        place = positional.index(param.name)
        call = [*call[:place], *NONSENSE[param.name], *call[place + 1 :]]
    assert farlab.run([*words, *call]) in (2, 3), capsys.readouterr()
    assert capsys.readouterr().err.strip()
    assert sorted(tmp_path.rglob("*")) == before
