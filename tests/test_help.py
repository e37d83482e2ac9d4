"""Every command shows how it is called, and what it shows is a call."""

from __future__ import annotations

import inspect
import re
import shlex
from typing import Any

import pytest

import farlab
from orchestrator.cli.inputs import given_by

COMMANDS = dict(farlab.leaves(farlab.build_app()))


def examples(command: Any) -> list[str]:
    """Return the lines below ``Examples:``, which ends a command's help."""
    _, found, block = inspect.cleandoc(command.help or "").partition("\nExamples:\n")
    return [line.strip() for line in block.splitlines() if line.strip()] if found else []


@pytest.mark.parametrize("words", list(COMMANDS), ids=" ".join)
def test_every_command_has_examples_that_are_calls(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    found = examples(command)
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
