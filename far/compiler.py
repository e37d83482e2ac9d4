"""PyTorch's compiler, imported when something is compiled.

Each optimiser of PyTorch imports it when it is made and in every step, only to say that none of this is to be
compiled: a second and 60 MiB in each process that trains, though hardly any of them compiles anything.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"
SAID = "__dynamo_disable"
"""Attribute in which PyTorch remembers what it was answered about a function."""
OWN = ("disable", "graph_break", "__class__", "__dict__", "__file__", "__name__", "__spec__")
"""What can be asked of the module without loading it."""


def defer_compiler() -> None:
    """Put the compiler's import off until something asks for more than to be left alone by it."""
    import torch

    spec = None if NAME in sys.modules else importlib.util.find_spec(NAME)
    if spec is not None:
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _Deferred
        sys.modules[NAME] = torch._dynamo = module


class _Deferred(ModuleType):
    """The module before it is loaded: it answers what code that is not compiled asks, anything else loads it.

    ``importlib.util.LazyLoader`` would load it at the first question, which is always one of these.
    """

    def disable(self, fn: Any = None, recursive: bool = True, **options: Any) -> Any:
        """Return a function as it is that PyTorch is about to call: while nothing is compiled it is left out anyway.

        Whoever decorates one of their own keeps the answer for good, and is given the compiler's.
        """
        if fn is None or options != {"wrapping": False}:
            return _load(self).disable(fn, recursive, **options)
        _answered.append(fn)
        return fn

    def graph_break(self, msg: str = "") -> None:
        """Do nothing: there is no graph."""

    def __getattribute__(self, name: str) -> Any:
        if name in OWN:
            return object.__getattribute__(self, name)
        return getattr(_load(self), name)


_answered: list[Callable[..., Any]] = []


def _load(module: ModuleType) -> Any:
    """Make the module what it stands for; it is asked again about every function."""
    module.__class__ = ModuleType
    for function in _answered:
        vars(function).pop(SAID, None)
    _answered.clear()
    assert module.__spec__ is not None and module.__spec__.loader is not None
    module.__spec__.loader.exec_module(module)
    return module
