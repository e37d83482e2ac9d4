"""Name -> variant, one registry per axis. Nothing outside a variant's module mentions its name.

A variant is a function, a class or an object that holds all that is known of it: what its registry asks for, and

- ``reads``: settings, by dotted key, that only some variants of the axis use (see :class:`far.strict.ReadBy`);
- ``builder``: ``"module:name"`` of what builds it, where that needs torch and the variant must not (:func:`named`).
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from far.errors import ConfigError
from far.text import with_article

T = TypeVar("T")
Accepts = Callable[[Any], str]
"""Returns what is wrong with an entry, in words that follow its name; empty if nothing is."""


@dataclass(frozen=True)
class Origin:
    """Where a variant was registered."""

    module: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def _reads(variant: Any) -> Collection[str]:
    return getattr(variant, "reads", ())


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to variants whose look-up error lists the valid choices.

    Args:
        axis: what is being chosen, in the user's words, e.g. ``"attention pattern"``.
        key: the setting that holds the name of the chosen variant, e.g. ``"data.sampling"``.
        reads: returns the settings that a variant reads; default: its attribute ``reads``.
        accepts: returns why something cannot be a variant that a plug-in adds, in words that follow its name; empty if
            it can. Default: see ``far.plugins.axes``.
    """

    def __init__(
        self,
        axis: str,
        key: str = "",
        reads: Callable[[T], Collection[str]] = _reads,
        accepts: Accepts | None = None,
    ) -> None:
        self.axis, self.key, self.accepts = axis, key, accepts
        self.module: str = sys._getframe(1).f_globals["__name__"]
        REGISTRIES.append(self)
        self._reads = reads
        self._entries: dict[str, T] = {}
        self._origins: dict[str, Origin] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under ``name``.

        Raises:
            ConfigError: the name is taken, or is none.
        """
        caller = sys._getframe(1)
        origin = Origin(caller.f_globals["__name__"], caller.f_code.co_filename, caller.f_lineno)
        if not isinstance(name, str):
            raise ConfigError(
                f'{with_article(self.axis)} is registered under a name: register("name")(…)', where=str(origin)
            )
        if name in self._entries:
            first = self._origins[name]
            raise ConfigError(f"{self.axis} '{name}' is registered twice: in {first} as well", where=str(origin))

        def add(entry: T) -> T:
            self._entries[name], self._origins[name] = entry, origin
            return entry

        return add

    def unregister(self, name: str) -> None:
        """Forget a variant, e.g. that of a test."""
        del self._entries[name], self._origins[name]

    def check(self, name: str, *context: Any) -> None:
        """Check a variant that has a method ``check`` against the rest of a configuration.

        Raises:
            ConfigError: it is not; the error names those that are, unless the variant's own names another setting.
        """
        try:
            self._entries[name].check(*context)  # type: ignore[attr-defined]
        except ConfigError as error:
            if error.key is not None:
                raise
            possible = [other for other in self if self.is_possible(other, *context)]
            raise ConfigError(error.message, key=self.key, choices=possible, got=name) from None

    def is_possible(self, name: str, *context: Any) -> bool:
        """Return whether a variant that has a method ``check`` is compatible with the rest of a configuration."""
        try:
            self._entries[name].check(*context)  # type: ignore[attr-defined]
        except ConfigError:
            return False
        return True

    def reads(self, name: str) -> Collection[str]:
        """Return the settings, by dotted key, that a variant reads in addition to those that all variants read."""
        return self._reads(self[name])

    def origin(self, name: str) -> Origin:
        """Return where a variant was registered."""
        self[name]
        return self._origins[name]

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise ConfigError(f"unknown {self.axis} '{name}'", choices=self._entries, got=name) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


REGISTRIES: list[Registry[Any]] = []
"""All that there are in this process."""


def instance_of(kind: type, more: Accepts = lambda entry: "") -> Accepts:
    """Return what accepts objects of a class, if there is nothing more against them."""

    def accepts(entry: Any) -> str:
        if isinstance(entry, type) and issubclass(entry, kind):
            return f"is the class {entry.__name__}, and an object is needed: register {entry.__name__}()"
        if not isinstance(entry, kind):
            return f"is {_what(entry)}, and a {kind.__module__}.{kind.__name__} is needed"
        return more(entry)

    return accepts


def function_of(*arguments: str, more: Accepts = lambda entry: "") -> Accepts:
    """Return what accepts functions that can be called with these arguments, if ``more`` has nothing against them."""

    def accepts(entry: Any) -> str:
        if isinstance(entry, type):
            return f"is the class {entry.__name__}, and a function of ({', '.join(arguments)}) is needed"
        return callable_with(*arguments)(entry) or more(entry)

    return accepts


def callable_with(*arguments: str) -> Accepts:
    """Return what accepts functions, and classes, that can be called with these arguments."""

    def accepts(entry: Any) -> str:
        needed = f"a function of ({', '.join(arguments)}) is needed"
        if not callable(entry):
            return f"is {_what(entry)}, and {needed}"
        try:
            inspect.signature(entry).bind(*arguments)
        except TypeError as error:
            return f"takes other arguments ({error}): {needed}"
        except ValueError:  # built in, without a signature
            pass
        return ""

    return accepts


def _what(entry: object) -> str:
    return f"the class {entry.__name__}" if isinstance(entry, type) else with_article(type(entry).__name__)


def named(path: str) -> Any:
    """Import and return what a ``"module:name"`` names: a builder that a torch-free variant points to."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
