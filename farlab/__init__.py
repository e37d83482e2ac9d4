"""FARLab from Python: trials, sweeps and results, as the commands of ``farlab`` have them.

Everything works on the workspace of the current directory. Errors are ``farlab.FarError`` and its kinds; nothing ends
the process. Importing it loads nothing until something is used. Networks alone: ``far.create_model``.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what `typing` has under this name; here nothing is imported, see `python -m` in __main__
if TYPE_CHECKING:
    from far.errors import ConfigError, DataError, FarError, WeightsError
    from far.plugins import load_plugin
    from farlab.command_line import build_app, leaves, main, run
    from farlab.commands import command
    from farlab.data import check_data, open_data, prepare_data
    from farlab.reporting import figure, results, tables
    from farlab.sweeps import plan, resume, status, sweep, validate
    from farlab.trials import Trial, load_trial, run_trial

_HOMES = {
    "far.errors": ("ConfigError", "DataError", "FarError", "WeightsError"),
    "far.plugins": ("load_plugin",),
    "farlab.command_line": ("build_app", "leaves", "main", "run"),
    "farlab.commands": ("command",),
    "farlab.data": ("check_data", "open_data", "prepare_data"),
    "farlab.reporting": ("figure", "results", "tables"),
    "farlab.sweeps": ("plan", "resume", "status", "sweep", "validate"),
    "farlab.trials": ("Trial", "load_trial", "run_trial"),
}
"""Where the public names are defined."""

__all__ = [
    "ConfigError",
    "DataError",
    "FarError",
    "Trial",
    "WeightsError",
    "build_app",
    "check_data",
    "command",
    "figure",
    "leaves",
    "load_plugin",
    "load_trial",
    "main",
    "open_data",
    "plan",
    "prepare_data",
    "results",
    "resume",
    "run",
    "run_trial",
    "status",
    "sweep",
    "tables",
    "validate",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is used for the first time."""
    for module, names in _HOMES.items():
        if name in names:
            import importlib  # noqa: PLC0415  (see TYPE_CHECKING)

            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'farlab' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
