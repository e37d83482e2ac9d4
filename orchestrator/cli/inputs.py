"""What a command was given, and that nothing is given in vain.

A command whose branches look at different options declares them with ``modes``; the command line then refuses whatever
the chosen branch would not look at, before the command runs. A command without modes looks at all it has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from far.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Mode:
    """One branch of a command.

    Attributes:
        said: when it is taken, in words that go on "has no effect", e.g. ``with --paper``; ``{name}`` stands for a
            parameter's value.
        uses: names of the parameters that it looks at.
        when: whether it is taken, given the parameters' values; None: always.
    """

    said: str
    uses: frozenset[str]
    when: Callable[[Mapping[str, Any]], bool] | None = None


def mode(said: str, uses: Collection[str], *, when: str | Sequence[str] | Callable[..., Any] | None = None) -> Mode:
    """Return a branch that is taken when one of these parameters is given, or when a function of the values says so."""
    names = (when,) if isinstance(when, str) else when
    if names is None or callable(names):
        return Mode(said, frozenset(uses), names)
    return Mode(said, frozenset(uses), lambda values: any(values[name] for name in names))


def modes(*branches: Mode) -> Callable[[F], F]:
    """Declare a command's branches; the first that is taken counts. Stands below ``@app.command``."""

    def declare(callback: F) -> F:
        callback.modes = branches  # type: ignore[attr-defined]
        return callback

    return declare


@dataclass(frozen=True)
class Given:
    """The parameters of the command that runs, by name: their values, and how those that were given are spelt."""

    values: Mapping[str, Any]
    spelt: Mapping[str, str]

    def check(self, branches: Sequence[Mode]) -> None:
        """Refuse numbers that are not finite, and whatever the branch taken does not look at.

        Raises:
            ConfigError: naming the option.
        """
        for name, spelling in self.spelt.items():
            value = self.values[name]
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{value} is no number to count with", key=spelling, where=COMMAND_LINE)
        taken = next((b for b in branches if b.when is None or b.when(self.values)), None)
        for name, spelling in self.spelt.items():
            if taken is not None and name not in taken.uses:
                raise ConfigError(
                    f"has no effect {taken.said.format_map(self.values)}", key=spelling, where=COMMAND_LINE
                )


_given: ContextVar[Given | None] = ContextVar("given", default=None)


def refuse_given(*names: str, because: str) -> None:
    """Refuse parameters that turn out to have no effect only once files have been read.

    Raises:
        ConfigError: one of them was given on the command line.
    """
    given = _given.get()
    for name in names:
        if given is not None and name in given.spelt:
            raise ConfigError(f"has no effect: {because}", key=given.spelt[name], where=COMMAND_LINE)


def given_by(context: Any) -> Given:
    """Return what click's context holds from the command line."""
    spelt = {
        param.name: spelling(param)
        for param in context.command.params
        if param.expose_value and context.get_parameter_source(param.name).name in ("COMMANDLINE", "ENVIRONMENT")
    }
    return Given(context.params, {name: text for name, text in spelt.items() if context.params[name] not in (None, ())})


def spelling(param: Any) -> str:
    """Return how a parameter is written: its longest option, or what the help calls the argument."""
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return str(param.metavar or param.name)


@contextmanager
def running(given: Given) -> Iterator[None]:
    """Make known what was given for as long as a command runs."""
    token = _given.set(given)
    try:
        yield
    finally:
        _given.reset(token)


def refuse_void(command: Any, context: Any, arguments: Sequence[str]) -> None:
    """Refuse an empty value, and an option given twice that takes one value: the first would be typed in vain.

    Raises:
        ConfigError: naming the option.
    """
    values, _, order = command.make_parser(context).parse_args(args=list(arguments))
    for param in order:
        value = values.get(param.name)
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            raise ConfigError("is empty", key=spelling(param), where=COMMAND_LINE)
    counts = Counter(param.name for param in order if param.param_type_name == "option")
    for param in order:
        if counts[param.name] > 1 and not (param.multiple or param.is_flag or param.count):
            raise ConfigError("is given twice", key=spelling(param), where=COMMAND_LINE)
