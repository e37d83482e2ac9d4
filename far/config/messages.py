"""From what pydantic found wrong to one sentence about what stood in the file, and what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from far.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
LONGEST = 60
"""Characters of a wrong value that are quoted."""
KINDS = {
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "list_type": "a list",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "finite_number": "a finite number",
    "int_parsing_size": "a smaller number",
    "byte_size": "a number of bytes, such as 1 GiB",
    "byte_size_unit": "a number of bytes, such as 1 GiB",
}
"""What is needed instead, by pydantic's type of error."""
BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
    "multiple_of": "a multiple of",
}


def shown(value: object) -> str:
    """Return a value as it would stand in YAML, on one line, cut if it is long."""
    if isinstance(value, float):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = text.replace('"', "")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def validated(schema: type[M], tree: Mapping[str, Any], where: Callable[[tuple[str, ...]], str]) -> M:
    """Build a section from plain data, turning the first violation into a ``ConfigError`` with its place.

    Args:
        schema: the section.
        tree: its settings, nested.
        where: maps a path of keys to the place where it stands.
    """
    try:
        return schema.model_validate(dict(tree))
    except ConfigError as error:
        path = tuple((error.key or "").split("."))
        raise error.at(where=where(path) or None) from None
    except ValidationError as error:
        raise _as_error(schema, error.errors(), where) from None


def _as_error(schema: type[BaseModel], errors: Sequence[Any], where: Callable[[tuple[str, ...]], str]) -> ConfigError:
    first = errors[0]
    path = tuple(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        _, annotation, _ = _descend(schema, path[:-1])
        section = next(_members(annotation, _is_section), None)
        choices = section.fields() if section else ()
        return ConfigError(
            f"unknown key '{path[-1]}'", key=".".join(path), where=where(path) or None, choices=choices, got=path[-1]
        )
    # Each member of a union reports in turn: the one that got furthest into the value is the one that was meant.
    written = _descend(schema, path)[0]
    tried = [(_descend(schema, tuple(str(part) for part in each["loc"])), each) for each in errors]
    tried = [each for each in tried if each[0][0][: len(written)] == written]
    furthest = max(len(keys) for (keys, _, _), _ in tried)
    tried = [each for each in tried if len(each[0][0]) == furthest]
    tried = [each for each in tried if not each[1]["type"].endswith(("_type", "literal_error"))] or tried
    (written, annotation, described), best = tried[0]
    choices = [choice for kind in _members(annotation, _is_literal) for choice in get_args(kind)]
    choices = choices or best.get("ctx", {}).get("choices", [])
    message = _sentence([each for _, each in tried], choices, described)
    return ConfigError(
        message,
        key=".".join(written),
        where=where(written) or None,
        choices=choices if best["type"] == "literal_error" else (),
        got=best["input"],
    )


def _sentence(tried: Sequence[Mapping[str, Any]], choices: Sequence[object], described: FieldInfo | None) -> str:
    """Say what is wrong with a value, of all kinds that it might have been, and give examples of what is right."""
    best = tried[0]
    kinds = list(dict.fromkeys(KINDS[each["type"]] for each in tried if each["type"] in KINDS))
    examples = (described.examples if described is not None else None) or ()
    match best["type"]:
        case "missing":
            return "is missing"
        case "value_error":
            return str(best["msg"]).removeprefix("Value error, ")
        case "literal_error" if not kinds:
            return f"unknown value {_given(best)}"
        case "too_short" | "too_long":
            message = f"must have {_entries(best['ctx'], described)}"
        case kind if kind in KINDS or kind == "literal_error":
            message = f"must be {' or '.join([*kinds, *map(repr, choices)])}"
        case kind if kind in BOUNDS:
            (bound,) = best["ctx"].values()
            message, examples = f"must be {BOUNDS[kind]} {shown(bound)}", ()
        case _:
            message, examples = str(best["msg"])[:1].lower() + str(best["msg"])[1:], ()
    if examples:
        message += f", e.g. {' or '.join(map(_example, examples))}"
    quotes = best["type"] == "string_type" and isinstance(best["input"], (bool, int, float))
    return f"{message}, not {_given(best)}" + (": such text needs quotes" if quotes else "")


def _entries(limits: Mapping[str, Any], described: FieldInfo | None) -> str:
    bounds = {type(mark).__name__: mark for mark in (described.metadata if described is not None else ())}
    least, most = limits.get("min_length"), limits.get("max_length")
    exact = {getattr(bounds.get("MinLen"), "min_length", None), getattr(bounds.get("MaxLen"), "max_length", None)}
    number = least if least is not None else most
    words = f"{number} {'entry' if number == 1 else 'entries'}"
    return words if exact == {number} else f"{'at least' if least is not None else 'at most'} {words}"


def _given(error: Mapping[str, Any]) -> str:
    value = error["input"]
    return repr(value) if isinstance(value, str) and len(value) <= LONGEST else shown(value)


def _example(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def _is_literal(annotation: Any) -> bool:
    return get_origin(annotation) is Literal


def _members(annotation: Any, wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """Yield an annotation, or the members of its union, that are of the wanted kind."""
    if wanted(annotation):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for member in get_args(annotation):
            yield from _members(member, wanted)


def _is_section(annotation: Any) -> bool:
    return hasattr(annotation, "fields")


def _is_plain(annotation: Any) -> bool:
    return get_origin(annotation) not in (Union, UnionType, Annotated)


def _descend(schema: Any, path: tuple[str, ...]) -> tuple[tuple[str, ...], Any, FieldInfo | None]:
    """Follow a location through sections, mappings and lists as far as it names what a person wrote.

    Returns:
        The part of the location that was written (pydantic puts the member of a union that it tried between), the
        annotation that stands there, and the field, if it is one.
    """
    here, described = schema, None
    written: list[str] = []
    kinds: list[Any] | None = None
    for part in path:
        if kinds is None:
            kinds = [kind for kind in _members(here, _is_plain) if kind is not type(None)]
            if len(kinds) > 1:  # this part is pydantic's name of the member that it tried
                kinds = [kind for kind in kinds if _name(kind) == part.partition("[")[0]]
                continue
        kind: Any = kinds[0] if kinds else None
        if _is_section(kind) and part in kind.fields():
            described = kind.fields()[part]
            here = described.annotation
        elif get_origin(kind) is dict and part != "[key]":
            here, described = get_args(kind)[1], None
        elif get_origin(kind) is list and part.isdigit():
            here, described = get_args(kind)[0], None
        else:
            break
        kinds = None
        written.append(part)
    return tuple(written), here, described


def _name(kind: Any) -> str:
    return getattr(get_origin(kind) or kind, "__name__", "")
