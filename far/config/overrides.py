"""Layers of settings: a profile, a study's base, a row, the command line; later layers win.

Each layer is a mapping of keys, nested or dotted. A mapping given to a section of the schema sets the keys it names;
a value given to a setting replaces it whole (so ``model.attention: {global: 1}`` is all-global attention).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from far.config.schema import Strict, TrialConfig
from far.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
Where = Callable[[tuple[str, ...]], str]
"""Maps a path of keys inside a layer to a place a person can go to, e.g. ``study.yaml:7``."""


@dataclass(frozen=True)
class Layer:
    """Settings from one place."""

    values: Mapping[str, Any]
    where: Where


def parse_override(text: str) -> Layer:
    """Read one ``dotted.key=value`` of the command line; the value is YAML.

    Raises:
        ConfigError: there is no ``=``, or the value is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{text}' is not of the form key=value", where="command line")
    try:
        parsed = YAML(typ="safe").load(value)
    except YAMLError:
        raise ConfigError(f"the value '{value}' is not YAML", key=key, where="command line") from None
    return Layer({key.strip(): parsed}, lambda _: "command line")


@functools.cache
def section_of(schema: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the schema of a field that is a section of its own, else None.

    Raises:
        ConfigError: the schema has no such field.
    """
    if name not in schema.model_fields:
        raise ConfigError(f"unknown key '{name}'", choices=schema.model_fields, got=name)
    annotation = schema.model_fields[name].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Strict):
            return candidate
    return None


def flatten(layer: Layer, schema: type[BaseModel] = TrialConfig) -> dict[tuple[str, ...], tuple[Any, str]]:
    """Return every setting of a layer by its full path, with its place.

    Raises:
        ConfigError: a key is unknown, or a plain value stands where a section is.
    """
    found: dict[tuple[str, ...], tuple[Any, str]] = {}

    def walk(section: type[BaseModel], prefix: tuple[str, ...], raw: tuple[str, ...], values: Any) -> None:
        for key, value in values.items():
            here = (*raw, str(key))
            inner, path = section, prefix
            *parents, last = str(key).split(".")
            try:
                for parent in parents:
                    nested = section_of(inner, parent)
                    if nested is None:
                        raise ConfigError(f"'{parent}' is a setting, not a section; it has no '{last}'")
                    inner, path = nested, (*path, parent)
                nested = section_of(inner, last)
            except ConfigError as error:
                raise error.at(key=".".join((*prefix, str(key))), where=layer.where(here)) from None
            path = (*path, last)
            if nested is None:
                found[path] = (value, layer.where(here))
            elif isinstance(value, Mapping):
                walk(nested, path, here, value)
            else:
                raise ConfigError(
                    f"'{last}' is a section and needs keys, not {value!r}",
                    key=".".join(path),
                    where=layer.where(here),
                    choices=nested.model_fields,
                )

    walk(schema, (), (), layer.values)
    return found


def resolve(layers: Iterable[Layer]) -> TrialConfig:
    """Lay settings over each other and validate the whole.

    Raises:
        ConfigError: with the place and the dotted key of what is wrong.
    """
    settings: dict[tuple[str, ...], tuple[Any, str]] = {}
    for layer in layers:
        settings.update(flatten(layer))
    tree: dict[str, Any] = {}
    for path, (value, _) in settings.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value
    places = {path: where for path, (_, where) in settings.items()}
    return validated(TrialConfig, tree, lambda path: _nearest(places, path))


def _nearest(places: Mapping[tuple[str, ...], str], path: tuple[str, ...]) -> str:
    """Return the place of a setting, of its nearest ancestor, or of any setting below it."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    below = [where for key, where in places.items() if key[: len(path)] == path]
    return below[-1] if below else ""


def validated(schema: type[M], tree: Mapping[str, Any], where: Where) -> M:
    """Build a section from plain data, turning the first violation into a ``ConfigError`` with its place."""
    try:
        return schema.model_validate(dict(tree))
    except ConfigError as error:
        path = tuple((error.key or "").split("."))
        raise error.at(where=where(path) or None) from None
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(str(part) for part in first["loc"])
        known, annotation = _descend(schema, path)
        place = where(path) or None
        if first["type"] == "extra_forbidden":
            section = next(_members(annotation, lambda kind: hasattr(kind, "model_fields")), None)
            raise ConfigError(
                f"unknown key '{path[-1]}'",
                key=".".join(path),
                where=place,
                choices=section.model_fields if section else (),
                got=path[-1],
            ) from None
        is_literal = first["type"] == "literal_error"
        choices = [
            c for kind in _members(annotation, lambda k: get_origin(k) is Literal) for c in get_args(kind) if is_literal
        ]
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] in ("missing", "value_error") else f", not {first['input']!r}"
        raise ConfigError(
            ("unknown value" if choices else message[:1].lower() + message[1:]) + given,
            key=".".join(known or path),
            where=place,
            choices=choices,
            got=first["input"],
        ) from None


def _members(annotation: Any, wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """Yield an annotation, or the members of its union, that are of the wanted kind."""
    if wanted(annotation):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for member in get_args(annotation):
            yield from _members(member, wanted)


def _descend(schema: Any, path: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
    """Follow a location through sections, mappings and lists as far as it names what a person wrote.

    Returns:
        The part of the location that was written (pydantic appends e.g. the member of a union that it tried), and
        the annotation that stands there.
    """
    here: Any = schema
    for depth, part in enumerate(path):
        step = None
        for kind in _members(here, lambda k: get_origin(k) not in (Union, UnionType, Annotated)):
            if hasattr(kind, "model_fields") and part in kind.model_fields:
                step = kind.model_fields[part].annotation
            elif get_origin(kind) is dict:
                step = get_args(kind)[1]
            elif get_origin(kind) is list and part.isdigit():
                step = get_args(kind)[0]
            if step is not None:
                break
        if step is None:
            return path[:depth], here
        here = step
    return path, here
