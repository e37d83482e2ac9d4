"""The command line: composes the commands of ``orchestrator`` and ``reports`` and turns errors into exit codes.

A command's module is imported when it is called (``orchestrator.cli.lazy``), so that ``farlab --help`` and a wrong
study file answer at once.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
import typer.completion

from far import __version__
from far.errors import ConfigError, FarError
from far.plugins import blamed, only_within
from far.text import printable
from orchestrator.cli.failures import as_ours, quiet_hooks, unforeseen
from orchestrator.cli.inputs import given_by, refuse_void, running
from orchestrator.cli.lazy import Commands, Group
from orchestrator.cli.quiet import HELP, META, NOTE, quiet, quiet_option
from orchestrator.cli.streams import READER_GONE, Output, clean, open_standard_streams, tolerant
from orchestrator.tracking import summary
from orchestrator.workspace.find import find_workspace
from orchestrator.workspace.trust import trusting

COMPLETE = "_FARLAB_COMPLETE"
"""Set by a shell's script that asks what to offer (``farlab completion``)."""
COMMAND_PACKAGES = ("orchestrator.commands", "reports.commands")
"""Each module in them is a command, each package in them a group of commands."""

summary.make_by("reports.tracked:summarise")

WIDEST = 10_000
"""Columns that a terminal may have."""
_importing = threading.Event()
"""Set while the program imports its command: to search that for garbage takes a sixth of the time."""
ClickException: Any = typer.BadParameter.__mro__[2]
"""Click's base error, whether typer carries its own copy of click (0.26 on) or uses the installed one."""


def build_app() -> Any:
    """Return the whole command line, as click's group."""
    app = typer.Typer(
        cls=Group,
        name="farlab",
        help="From one study file to an ablation table that can be defended.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(
        context: typer.Context,
        version: bool = typer.Option(False, "--version", help="Print the version and exit."),
        hushed: bool = typer.Option(False, "--quiet", "-q", help=HELP),
    ) -> None:
        context.meta[META] = hushed
        if version:
            typer.echo(f"farlab {__version__}")
            raise typer.Exit

    group: Any = typer.main.get_group(app)
    group.commands = Commands(COMMAND_PACKAGES, _guard)
    return group


def leaves(group: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that is no group, with the words that call it."""
    for name, command in group.commands.items():  # loads all of them
        words = (*prefix, name)
        if hasattr(command, "commands"):
            yield from leaves(command, words)
        else:
            yield words, command


def _guard(command: Any) -> None:
    """Let a command run only if all that it was given has an effect, and keep control characters off its output."""
    parse, invoke = command.parse_args, command.invoke
    branches = getattr(command.callback, "modes", ())

    def parse_args(context: Any, arguments: list[str]) -> list[str]:
        left: list[str] = parse(context, list(arguments))
        refuse_void(command, context, arguments)
        return left

    def checked(context: Any) -> Any:
        given = given_by(context)
        given.check(branches)
        asked = bool(context.meta.get(META))
        hushed, streams = quiet(asked), clean(leave_out=NOTE if asked else None)
        with hushed, streams, running(given), trusting(bool(given.values.get("trust"))), only_within():
            _note_owner()
            _imported()
            try:
                return invoke(context)
            except KeyboardInterrupt:  # typer would make a silent exit of it
                raise typer.Abort from None
            except (FarError, typer.Exit, ClickException):
                raise
            except Exception as error:
                if (place := blamed(error)) is None:
                    raise
                raise ConfigError(f"{type(error).__name__}: {error}", where=place) from error

    command.params.append(quiet_option())
    command.parse_args, command.invoke = parse_args, checked


def _imported() -> None:
    """Let garbage be searched for again, if this is the program, in all but what the command has imported."""
    if _importing.is_set():
        _importing.clear()
        gc.freeze()
        gc.enable()


def _note_owner() -> None:
    """Say whose settings are obeyed, if they are another user's."""
    try:
        place = find_workspace(Path.cwd())
    except OSError:
        return
    if place.owner is not None:
        print(f"note: the workspace {place} belongs to {place.owner}", file=sys.stderr)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (0, 1, 2, 3, 4 or 130; see ``far.errors``)."""
    with tolerant() as (output, errors):
        code = _run(arguments)
        output.flush()
        errors.flush()
        return _settled(code, output, errors)


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what goes wrong is raised.

    Raises:
        FarError, ClickException: what ``run`` prints.
    """
    asked = os.environ.get("COLUMNS", "")
    if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 9 and 0 < int(asked) <= WIDEST):
        del os.environ["COLUMNS"]  # help would be laid out for a terminal of this width, whatever memory it takes
    words = list(sys.argv[1:] if arguments is None else arguments)
    if COMPLETE in os.environ:
        shells: Any = typer.completion  # which does not list what it imports
        shells.completion_init()
    try:
        code = build_app()(args=words, prog_name="farlab", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    return code if isinstance(code, int) else 0


def _run(arguments: Sequence[str] | None) -> int:
    try:
        return invoke(arguments)
    except FarError as error:
        _say(f"error: {error}")
        return error.exit_code
    except ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted: what had finished is kept; run the same command again to go on")
        return 130
    except Exception as error:
        ours = as_ours(error)
        _say(unforeseen(error) if ours is None else f"error: {ours}")
        return 1 if ours is None else ours.exit_code


def _settled(code: int, output: Output, errors: Output) -> int:
    """Return the exit code, and say what could not be written."""
    if output.problem is not None and output.problem.errno not in READER_GONE:
        _say(f"error: standard output cannot be written: {output.problem.strerror}", errors)
        return code or 3
    if output.substituted:
        _say(
            f"note: standard output is {output.encoding}: what it lacks is written as \\uXXXX; "
            "PYTHONIOENCODING=utf-8 shows it",
            errors,
        )
    return code


def _say(text: str, stream: Any = None) -> None:
    print(printable(text), file=stream or sys.stderr, flush=True)


def main() -> None:
    """Entry point of the ``farlab`` script."""
    from orchestrator.executors.signals import ignore_stops, interrupt_on_stops  # noqa: PLC0415  (loads the configuration)

    gc.disable()
    _importing.set()
    os.environ["PYTHONSAFEPATH"] = "1"  # no child interpreter looks for modules in the working directory
    open_standard_streams()
    quiet_hooks(_say)
    interrupt_on_stops()
    code = 130
    with contextlib.suppress(KeyboardInterrupt):  # a second one, while the first is told of
        code = run()
        ignore_stops()
    ignore_stops()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # said already; what is left in the buffer must not be tried again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    gc.freeze()  # skip the final GC pass over Ray's and MLflow's objects (saves about 1 s)
    sys.exit(code)
