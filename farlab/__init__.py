"""FARLab from Python: the commands of ``farlab`` as functions. Importing it loads nothing until something is used."""

from __future__ import annotations

TYPE_CHECKING = False  # what `typing` has under this name; here nothing is imported, see `python -m` in __main__
if TYPE_CHECKING:
    from typing import Any

    from farlab.command_line import build_app, leaves, main, run

_HOMES = {
    "farlab.command_line": ("build_app", "leaves", "main", "run"),
}
"""Where the public names are defined."""

__all__ = ["build_app", "leaves", "main", "run"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is used for the first time."""
    for module, names in _HOMES.items():
        if name in names:
            import importlib  # noqa: PLC0415  (see TYPE_CHECKING)

            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'farlab' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
