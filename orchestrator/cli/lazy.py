"""Commands that are loaded when they are called: one module each, found by its name.

In a package of commands, ``plan.py`` has the function ``plan``, and its docstring is the help; a package in it, such as
``data``, is a group of them.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class Commands(Mapping[str, Any]):
    """The commands of some packages by name, each imported the first time that it is asked for.

    Args:
        packages: dotted names of the packages.
        prepare: called with each command once it is loaded.
    """

    def __init__(self, packages: Sequence[str], prepare: Callable[[Any], None]) -> None:
        self._prepare = prepare
        self._loaded: dict[str, Any] = {}
        self._modules = {
            entry.name.replace("_", "-"): (f"{package}.{entry.name}", entry.ispkg)
            for package in packages
            for entry in pkgutil.iter_modules(importlib.import_module(package).__path__)
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            module, is_group = self._modules[name]
            self._loaded[name] = self._group(name, module) if is_group else self._command(name, module)
        return self._loaded[name]

    def _command(self, name: str, module: str) -> Any:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name)(getattr(importlib.import_module(module), module.rpartition(".")[2]))
        command = typer.main.get_command(app)
        self._prepare(command)
        return command

    def _group(self, name: str, package: str) -> Any:
        app = typer.Typer(
            cls=Group, name=name, help=importlib.import_module(package).__doc__, no_args_is_help=True,
            add_completion=False, pretty_exceptions_enable=False,
        )  # fmt: skip
        group: Any = typer.main.get_group(app)
        group.commands = Commands([package], self._prepare)
        return group

    def outline(self) -> dict[str, Any]:
        """Return commands that can be listed, but not called: their help is read without an import."""
        return {name: TyperCommand(name, help=_help(*self._modules[name])) for name in self}


class Group(TyperGroup):
    """A group whose help, and whose completion in a shell, does not load its commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        with self._outlined():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the commands that begin as typed."""
        with self._outlined():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _outlined(self) -> Iterator[None]:
        whole = self.commands
        if isinstance(whole, Commands):
            self.commands = whole.outline()
        try:
            yield
        finally:
            self.commands = whole


def _help(module: str, is_group: bool) -> str:
    if is_group:
        return importlib.import_module(module).__doc__ or ""
    name = module.rpartition(".")[2]  # a dash in a command's name is an underscore in Python's
    spec = importlib.util.find_spec(module)
    source = spec.loader.get_source(module) if spec and isinstance(spec.loader, importlib.abc.InspectLoader) else None
    if source is None:  # compiled files alone
        return inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name)
    return next((ast.get_docstring(node) or "" for node in functions), "")
