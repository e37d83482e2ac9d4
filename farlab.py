"""The command line: composes the commands of ``orchestrator`` and ``reports`` and turns errors into exit codes.

Nothing heavy is imported here or in any ``commands`` module at import time, so that ``farlab --help`` and a wrong
study file answer at once.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import typer

from far import __version__
from far.errors import FarError

COMMAND_PACKAGES = ("orchestrator.commands", "reports.commands")
"""Each module in them that has ``register(app)`` adds its commands."""

ClickException: Any = typer.BadParameter.__mro__[2]
"""Click's base error, whether typer carries its own copy of click (0.26 on) or uses the installed one."""


def build_app() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        name="farlab",
        help="From one study file to an ablation table that can be defended.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        if version:
            typer.echo(f"farlab {__version__}")
            raise typer.Exit

    for package in COMMAND_PACKAGES:
        for entry in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            module = importlib.import_module(entry.name)
            if hasattr(module, "register"):
                module.register(app)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (0, 1, 2, 3, 4 or 130; see ``far.errors``)."""
    try:
        code = build_app()(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except FarError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except typer.Exit as stop:
        return stop.exit_code
    except ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted: what had finished is kept; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # e.g. `farlab plan ... | head`
        sys.stderr.close()
        return 0


def main() -> None:
    """Entry point of the ``farlab`` script."""
    code = run()
    gc.freeze()  # else the interpreter searches all that Ray and MLflow have made for cycles, for a second, to no use
    sys.exit(code)


if __name__ == "__main__":
    main()
