"""A YAML file that remembers on which line each key stands, so that an error can name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

from far.errors import ConfigError
from far.store.atomic import read_head

if TYPE_CHECKING:
    from ruamel.yaml.error import StringMark as Mark
    from ruamel.yaml.nodes import Node

LARGEST_FILE = 16 * 2**20
"""Bytes of a file."""
MOST_VALUES = 300_000
"""Values of a document with its aliases written out: ten lines of aliases can stand for billions."""
MOST_DIGITS = 40
"""Characters of a whole number."""
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""Truth values as YAML 1.1 has them; in 1.2, which is the default, the resolver lets only true and false through."""

CORE = "tag:yaml.org,2002:"
Lines = dict[tuple[str, ...], int]
Place = Callable[["Node"], str]


@dataclass(frozen=True)
class Document:
    """A parsed file: plain data, and ``file:line`` by path of keys."""

    path: Path
    data: dict[str, Any]
    lines: Lines = field(repr=False)

    def where(self, keys: Sequence[object] = ()) -> str:
        """Return ``file:line`` of the key at this path, or of its nearest ancestor that has a line."""
        path = tuple(str(key) for key in keys)
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines.get(path, 1)}"


def load_document(path: Path | str) -> Document:
    """Read a YAML mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, repeats a key, or does not hold a mapping.
    """
    path = Path(path)
    try:
        data = read_head(path, LARGEST_FILE + 1)  # a device or a pipe has no size
        if len(data) > LARGEST_FILE:
            raise ConfigError(f"is larger than {LARGEST_FILE // 2**20} MiB", where=str(path))
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        siblings = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ConfigError("no such file", where=str(path), choices=siblings, got=path.name) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None
    lines: Lines = {}
    tree = parse_yaml(text, str(path), lines)
    if not isinstance(tree, dict):
        raise ConfigError("the file must hold a mapping of keys to values", where=str(path))
    return Document(path, tree, lines)


def parse_yaml(text: str, where: str, lines: Lines | None = None) -> Any:
    """Read YAML 1.2 as plain data; keys, and what YAML would read as a date, keep their text as typed.

    Args:
        text: one document.
        where: the place that errors name; with ``lines``, followed by the line.
        lines: filled with the line of each key and list entry by its path, counted from 1.

    Raises:
        ConfigError: it is not YAML, repeats a key, has a tag, or its aliases stand for too much.
    """

    def place(node: Node | Mark) -> str:
        mark: Any = getattr(node, "start_mark", node)
        return where if lines is None else f"{where}:{mark.line + 1}"

    try:
        root = YAML(typ="safe", pure=True).compose(text)
        if root is None:
            return None
        _measure(root, {}, place)
        return _plain(root, (), {} if lines is None else lines, place)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = (getattr(error, "problem", None) or str(error)).split("\n")[0]
        raise ConfigError(f"not valid YAML: {problem}", where=place(mark) if mark else where) from None
    except RecursionError:
        raise ConfigError("not valid YAML: nested too deeply", where=where) from None


def _measure(node: Node, sizes: dict[int, int], place: Place) -> int:
    """Return how many values a node stands for with its aliases written out.

    Raises:
        ConfigError: too many, or a node holds itself.
    """
    if id(node) not in sizes:
        sizes[id(node)] = 0  # while its parts are looked at
        parts = [] if isinstance(node, ScalarNode) else node.value
        flat = [part for each in parts for part in (each if isinstance(each, tuple) else (each,))]
        sizes[id(node)] = 1 + sum(_measure(part, sizes, place) for part in flat)
    size = sizes[id(node)]
    if not size:
        raise ConfigError("an alias stands inside what it is an alias of", where=place(node))
    if size > MOST_VALUES:
        raise ConfigError(f"stands for more than {MOST_VALUES} values", where=place(node))
    return size


def _plain(node: Node, path: tuple[str, ...], lines: Lines, place: Place) -> Any:
    """Turn a node into plain data, noting lines on the way."""
    kind = str(node.tag).removeprefix(CORE)
    if kind == "map":
        return _mapping(node, path, lines, place)
    if kind == "seq":
        for index, item in enumerate(node.value):
            lines[(*path, str(index))] = item.start_mark.line + 1
        return [_plain(item, (*path, str(index)), lines, place) for index, item in enumerate(node.value)]
    if kind not in SCALARS:
        tag = kind if kind.startswith("!") else f"!!{kind}"
        raise ConfigError(
            f"'{tag}' is a YAML tag, and none has a meaning here: write a plain value; text that begins with '!' "
            "needs quotes",
            where=place(node),
        )
    if kind == "int" and len(node.value) > MOST_DIGITS:
        raise ConfigError(f"a whole number of {len(node.value)} characters", where=place(node))
    try:
        return SCALARS[kind](_text(node, place))
    except (ValueError, KeyError):
        raise ConfigError(f"not valid YAML: '{node.value}' as !!{kind}", where=place(node)) from None


def _mapping(node: Node, path: tuple[str, ...], lines: Lines, place: Place) -> dict[str, Any]:
    """Turn a mapping into plain data; its own keys win over those of ``<<``."""
    own: dict[str, tuple[Node, Node]] = {}
    merged: dict[str, Any] = {}
    for key, value in node.value:
        if key.tag == f"{CORE}merge":
            for source in [value] if isinstance(value, MappingNode) else value.value:
                if not isinstance(source, MappingNode):
                    raise ConfigError("'<<' takes a mapping, or a list of mappings", where=place(key))
                merged = {**_mapping(source, path, lines, place), **merged}
        elif not isinstance(key, ScalarNode):
            raise ConfigError("a mapping or a list is no key", where=place(key))
        elif (name := _text(key, place)) in own:
            first = own[name][0].start_mark.line + 1
            raise ConfigError(f"not valid YAML: duplicate key '{name}', first in line {first}", where=place(key))
        else:
            own[name] = key, value
    found = dict(merged)
    for name, (key, value) in own.items():
        lines[(*path, name)] = key.start_mark.line + 1
        found[name] = _plain(value, (*path, name), lines, place)
    return found


def _text(node: Node, place: Place) -> str:
    """Return a scalar's text; ``"\\ud83d\\ude00"`` is one character, as in JSON, and half of one is none."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ConfigError("not valid YAML: half of a surrogate pair is no character", where=place(node)) from None


def _whole(text: str) -> int:
    digits = text.replace("_", "").lower()
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits.lstrip("+-")[:2], 10)
    return int(digits, base)


def _decimal(text: str) -> float:
    return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "timestamp": str,
    "null": lambda text: None,
    "bool": lambda text: WORDS[text.lower()],
    "int": _whole,
    "float": _decimal,
}
"""What becomes of each kind of scalar."""
