"""Every command shows how it is called, and what it shows is a call."""

from __future__ import annotations

import inspect
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farlab
from orchestrator.cli.inputs import given_by
from orchestrator.cli.streams import Clean, Output

COMMANDS = dict(farlab.leaves(farlab.build_app()))


def examples(command: Any) -> list[str]:
    """Return the lines below ``Examples:``, which ends a command's help."""
    _, found, block = inspect.cleandoc(command.help or "").partition("\nExamples:\n")
    return [line.strip() for line in block.splitlines() if line.strip()] if found else []


@pytest.mark.parametrize("words", list(COMMANDS), ids=" ".join)
def test_every_command_has_examples_that_are_calls(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    found = [line for line in examples(command) if line.startswith("farlab ")]
    assert found, "its docstring ends with a block of examples"
    for line in found:
        parts = shlex.split(line)
        assert parts[: len(words) + 1] == ["farlab", *words], line
        context = command.make_context(" ".join(words), parts[len(words) + 1 :])
        given_by(context).check(getattr(command.callback, "modes", ()))


def test_the_help_shows_each_example_on_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for words in [("show",), ("data", "check")]:
        assert farlab.run([*words, "--help"]) == 0
        shown = [re.sub(r"\s+", " ", line).strip() for line in capsys.readouterr().out.splitlines()]
        assert set(examples(COMMANDS[words])) <= set(shown)


ACTS = {
    ("accept-code",), ("cancel",), ("data", "accept"), ("data", "generate"), ("data", "prepare"), ("resume",),
    ("promote",), ("retry",), ("sweep",), ("sync",), ("train",),
}  # fmt: skip
"""Commands that do something; what came of it is listed by others."""
WRITES = {
    ("completion",), ("data", "sample"), ("explain",), ("export",), ("figure",), ("logs",), ("study", "schema"),
    ("ui",), ("weights", "convert"),
}  # fmt: skip
"""Commands whose output is a file, a page or text of others."""


OF_OTHERS = {("check-plugin",), ("new",)}
"""Commands that say how a file fares, or write one."""


def test_whatever_lists_something_lists_it_as_json_too() -> None:
    for words, command in COMMANDS.items():
        if words in OF_OTHERS:
            continue
        options = {option for param in command.params for option in param.opts}
        is_data = bool(options & {"--json", "--format"})
        assert is_data != (words in ACTS | WRITES), words
    assert COMMANDS.keys() >= ACTS | WRITES


def test_json_is_all_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "q.yaml").write_text("study: q\nrows: {a: {}, b: {recipe.lr: 0.1}}\nseeds: 1\n")
    monkeypatch.chdir(tmp_path)
    for call in (["validate", "q.yaml"], ["plan", "q.yaml"], ["status"], ["gc"], ["cost", "q.yaml"], ["power"]):
        assert farlab.run([*call, "--json"]) == 0, call
        json.loads(capsys.readouterr().out)


def test_every_command_can_be_quiet_and_still_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(any("--quiet" in param.opts for param in command.params) for command in COMMANDS.values())
    rows = "{a: {}, b: {recipe.lr: 0.1}, c: {recipe.lr: 0.1}}"
    (tmp_path / "q.yaml").write_text(f"study: q\nrows: {rows}\nseeds: 1\nprofile: mvd\n".replace("mvd", "csv"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert farlab.run(["sync"]) == 0
    assert "note: MLFLOW_TRACKING_URI has no effect" in capsys.readouterr().err
    for call in (["sync", "--quiet"], ["-q", "sync"]):
        assert farlab.run(call) == 0
        assert capsys.readouterr().err == ""
    assert farlab.run(["validate", "q.yaml", "-q"]) == 0
    said = capsys.readouterr()
    assert "warning: " in said.err
    assert "ok" in said.out
    assert farlab.run(["-q", "show", "nothing"]) == 2
    assert "error: " in capsys.readouterr().err
    assert farlab.run(["report", "q.yaml", "-q", "-o", "t.md"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "t.md").exists()


@given(st.lists(st.sampled_from(["note: a", "not", "e: b", "warning: note: c", "\n", " ", "note: "]), max_size=12))
def test_notes_are_left_out_by_line_however_they_are_written(pieces: list[str]) -> None:
    kept = io.StringIO()
    stream = Clean(Output(kept), "note: ")
    lines = "".join(pieces).splitlines(keepends=True)
    for line in lines:  # print writes a text, and then the end of its line
        stream.write(line.rstrip("\n"))
        stream.write("\n" if line.endswith("\n") else "")
    assert kept.getvalue() == "".join(line for line in lines if not line.startswith("note: "))
