"""A YAML file that remembers on which line each key stands, so that an error can name it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from far.errors import ConfigError


@dataclass(frozen=True)
class Document:
    """A parsed file: plain data, and ``file:line`` by path of keys."""

    path: Path
    data: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(repr=False)

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
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ConfigError("no such file", where=str(path), choices=siblings, got=path.name) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(path)) from None
    try:
        tree = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"not valid YAML: {getattr(error, 'problem', None) or error}", where=place) from None
    if not isinstance(tree, dict):
        raise ConfigError("the file must hold a mapping of keys to values", where=str(path))
    lines: dict[tuple[str, ...], int] = {}
    return Document(path, _plain(tree, (), lines), lines)


def _plain(node: Any, path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> Any:
    """Turn ruamel's round-trip nodes into plain data, noting lines (counted from 1) on the way."""
    if isinstance(node, dict):
        positions = getattr(getattr(node, "lc", None), "data", None) or {}
        plain = {}
        for key, value in node.items():
            here = (*path, str(key))
            if key in positions:
                lines[here] = positions[key][0] + 1
            plain[str(key)] = _plain(value, here, lines)
        return plain
    if isinstance(node, list):
        positions = getattr(getattr(node, "lc", None), "data", None) or {}
        for index in range(len(node)):
            if index in positions:
                lines[(*path, str(index))] = positions[index][0] + 1
        return [_plain(value, (*path, str(index)), lines) for index, value in enumerate(node)]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
