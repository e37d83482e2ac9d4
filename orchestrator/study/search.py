"""Checking a search before anything runs: every key and value of its space, as any setting of the file is."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from far.config import Document, resolve
from far.config.identity import is_counted
from far.config.layers import Layer, flatten
from far.errors import ConfigError
from orchestrator.study.schema import Parameter, SearchConfig

if TYPE_CHECKING:
    from orchestrator.study.load import Row

MOST_COMBINATIONS = 256
"""Of the other parameters' values, tried for a value that is not possible by itself."""
SPACE = ("search", "space")
DEPTH = ("model.depth", "model.backbone")
"""Settings that decide how many blocks there are."""
_Values = Mapping[str, Sequence[tuple[tuple[str, ...], Any]]]


def check_search(
    search: SearchConfig, base: Sequence[Layer], over: Sequence[Layer], rows: Sequence[Row], document: Document
) -> None:
    """Try every bound and every choice of a search's space against the schema.

    Args:
        search: as the file has it.
        base: everything that proposals are laid over, the command line's overrides included.
        over: those overrides.
        rows: the study's rows.
        document: where the keys stand.

    Raises:
        ConfigError: a key is unknown, a section, or not the search's to choose; a value has the wrong type, or is
            possible with no values of the other parameters.
    """
    for key in search.space:
        _check_key(key, document)
    _check_blocks(search, document)
    _check_owners(search, over, rows, document)
    _Space(search, base, document).check()


def _check_key(key: str, document: Document) -> None:
    def error(message: str, choices: Sequence[str] = ()) -> ConfigError:
        return ConfigError(message, key=".".join((*SPACE, key)), where=document.where((*SPACE, key)), choices=choices)

    try:
        paths = list(flatten(Layer({key: {}}, lambda keys: "")))
    except ConfigError as wrong:
        raise ConfigError(
            wrong.message,
            key=".".join((*SPACE, key)),
            where=document.where((*SPACE, key)),
            choices=wrong.choices,
            got=wrong.got,
        ) from None
    if not paths:
        raise error("a search chooses values of single settings, and this is a section of them")
    if paths[0] == ("seed",):
        raise error("the seed is an axis of its own, and no quality of a configuration: use 'seeds' in the study")
    if not all(is_counted(".".join(path)) for path in paths):
        raise error("says how a trial is executed and changes no number: there is nothing to search for")


def _check_blocks(search: SearchConfig, document: Document) -> None:
    """Refuse to choose for each block where the number of blocks is chosen as well."""
    varied = next((key for key in DEPTH if key in search.space), None)
    for key, parameter in search.space.items():
        if parameter.each_block is not None and varied is not None:
            raise ConfigError(
                f"is chosen for each block of the base's network, while {varied} varies the number of blocks",
                key=".".join((*SPACE, key)),
                where=document.where((*SPACE, key)),
            )


def _check_owners(search: SearchConfig, over: Sequence[Layer], rows: Sequence[Row], document: Document) -> None:
    """Refuse what is set elsewhere and would be overridden, or would mean two things in one study."""
    for layer in over:
        for path, setting in flatten(layer).items():
            if (key := ".".join(path)) in search.space:
                raise ConfigError(
                    "is chosen by the study's search, so that setting it has no effect", key=key, where=setting.where
                )
    for row in rows:
        for key in search.space:
            if key in row.settings:
                raise ConfigError(
                    f"row '{row.name}' sets this too, and a search starts from the base alone: let either vary it, or "
                    "make two studies",
                    key=".".join((*SPACE, key)),
                    where=document.where((*SPACE, key)),
                )


class _Space:
    """The bounds and choices of all parameters, and whether they are possible."""

    def __init__(self, search: SearchConfig, base: Sequence[Layer], document: Document) -> None:
        self._search, self._base, self._document = search, list(base), document
        depth = resolve(self._base).model.sizes[1]
        self._values: _Values = {key: list(_values(parameter, depth)) for key, parameter in search.space.items()}

    def check(self) -> None:
        """Refuse a value that is possible with no values of the other parameters, and a space without any."""
        wrong = self._any(self._values)
        # What is wrong by itself is named first: with it, everything else is impossible too.
        for alone in (True, False):
            for key, values in self._values.items():
                others = {name: each for name, each in self._values.items() if name != key}
                for path, value in values:
                    by_itself = self._error({key: value})
                    if (by_itself is not None or not alone) and (why := self._any(others, {key: value})):
                        raise self._impossible(key, path, value, by_itself or why)
        if wrong is not None:
            raise ConfigError(
                f"no combination of these values is possible, e.g. {wrong.key}: {wrong.message}",
                key=".".join(SPACE),
                where=self._document.where(SPACE),
            )

    def _impossible(self, key: str, path: tuple[str, ...], value: Any, why: ConfigError) -> ConfigError:
        message = why.message
        if why.key != key:
            message = f"{json.dumps(value, default=str)} is not possible: {why.key}: {message}"
        if isinstance(value, float) and value % 1 == 0 and self._error({key: int(value)}) is None:
            message = "takes whole numbers: add 'integer: true' to the range"
        where = self._document.where((*SPACE, key, *path))
        return ConfigError(message, key=".".join((*SPACE, key, *path)), where=where, choices=why.choices, got=why.got)

    def _any(self, space: _Values, fixed: Mapping[str, Any] | None = None) -> ConfigError | None:
        """Return None if any combination of values is possible, else why one is not."""
        wrong = None
        for settings in _combinations({key: [value for _, value in values] for key, values in space.items()}):
            wrong = self._error({**settings, **(fixed or {})})
            if wrong is None:
                return None
        return wrong

    def _error(self, settings: dict[str, Any]) -> ConfigError | None:
        try:
            resolve([*self._base, Layer(settings, lambda keys: "")])
        except ConfigError as error:
            return error
        return None


def _values(parameter: Parameter, depth: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the bounds or choices of a parameter as settings, each with its path in the file."""
    for name in ("choices", "each_block"):
        for index, value in enumerate(getattr(parameter, name) or ()):
            yield (name, str(index)), value if name == "choices" else [value] * depth
    for name in ("low", "high"):
        bound = getattr(parameter, name)
        if bound is not None:
            yield (name,), int(bound) if parameter.integer else bound


def _combinations(space: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield all combinations of values, or some, where there are many."""
    total = 1
    for values in space.values():
        total *= len(values)
    if total <= MOST_COMBINATIONS:
        for point in itertools.product(*space.values()):
            yield dict(zip(space, point, strict=True))
        return
    draw = random.Random(0)
    for _ in range(MOST_COMBINATIONS):
        yield {key: draw.choice(values) for key, values in space.items()}
