"""Any command of the command line, called from Python, with its output caught."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from far.errors import ConfigError
from farlab.command_line import ClickException, invoke
from orchestrator.cli.failures import as_ours
from orchestrator.executors.signals import handlers_restored


@dataclass(frozen=True)
class Completed:
    """How a command ended.

    Attributes:
        exit_code: 0 complete, 3 some trials failed or some data are bad, 4 budget reached.
        output: what it printed.
        errors: what it printed on standard error: notes, warnings, progress.
    """

    exit_code: int
    output: str = field(repr=False)
    errors: str = field(repr=False)

    def json(self) -> Any:
        """Return the output of a command with ``--json`` as plain values.

        Raises:
            ConfigError: it is no JSON.
        """
        try:
            return json.loads(self.output)
        except ValueError:
            raise ConfigError("the command printed no JSON; give it --json, or --format json") from None

    def __str__(self) -> str:
        return self.output


def command(*words: str | Path | float) -> Completed:
    """Run a command as ``farlab WORDS…`` would, in this process: ``farlab.command("data", "check", "ssv2", "--json")``.

    Raises:
        FarError: what the command line would print as ``error: …``; wrong usage is a ``ConfigError``.
        KeyboardInterrupt: it was interrupted.
    """
    output, errors = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(errors), handlers_restored():
            code = invoke([str(word) for word in words])
    except ClickException as error:
        raise ConfigError(error.format_message(), where=f"farlab {' '.join(map(str, words))}") from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except OSError as error:
        raise (as_ours(error) or error) from None
    return Completed(code, output.getvalue(), errors.getvalue())
