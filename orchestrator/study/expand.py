"""From a study file to rows: named ones and ablations, times grid and zip, plus include, minus exclude."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from far.config.document import Document
from far.config.layers import Layer, flatten
from far.errors import ConfigError
from orchestrator.study.factorial import design
from orchestrator.study.schema import FACTORIAL, StudyFile

FULL, NONE = "full", "none"


@dataclass(frozen=True)
class Draft:
    """A row before it is resolved: its name, and layers that go over the study's base."""

    name: str
    layers: tuple[Layer, ...]
    source: tuple[str, ...]
    """Path of keys in the file that a complaint about the row points to."""
    present: tuple[str, ...] | None = None
    """Components that a row of a factorial has; None for other rows."""


def expand(file: StudyFile, document: Document) -> list[Draft]:
    """Return the study's rows in table order.

    Raises:
        ConfigError: two rows get one name, a zip's lists differ in length, an exclude matches nothing.
    """
    named = [*_rows(file, document), *_ablations(file, document)]
    axes = [*_grid(file, document), *_zips(file, document)]
    drafts: list[Draft] = []
    if named or axes:
        for parts in itertools.product(named or [Draft("", (), ("grid",))], *axes):
            name = ", ".join(part.name for part in parts if part.name)
            layers = tuple(layer for part in parts for layer in part.layers)
            drafts.append(Draft(name, layers, parts[0].source, parts[0].present))
    drafts += [
        Draft(name, (_layer(values, document, "include", name),), ("include", name))
        for name, values in file.include.items()
    ]
    drafts = _excluded(drafts, file, document)
    _unique(drafts, document)
    return drafts


def _layer(values: Mapping[str, Any] | None, document: Document, *path: str) -> Layer:
    return Layer(values or {}, lambda keys: document.where((*path, *keys)))


def _rows(file: StudyFile, document: Document) -> Iterator[Draft]:
    for name, values in file.rows.items():
        yield Draft(name, (_layer(values, document, "rows", name),), ("rows", name))


def _ablations(file: StudyFile, document: Document) -> Iterator[Draft]:
    """One row a distinct set of present components, named after what was taken away or added."""
    if file.ablate is None:
        return
    components = file.ablate.components
    _independent(file, document)
    everything = tuple(components)
    subsets: dict[tuple[str, ...], str] = {}
    crossed = set(design(everything, file.ablate.divisor)) if file.ablate.is_factorial else set()
    for mode in file.ablate.modes:
        subsets.setdefault(everything, FULL)
        if mode == FACTORIAL:
            for present in sorted(crossed, key=lambda names: _absent(names, everything)):
                subsets.setdefault(present, _subset(present, everything))
        elif mode == "leave-one-out":
            for name in everything:
                subsets.setdefault(tuple(c for c in everything if c != name), f"w/o {name}")
        else:
            subsets.setdefault((), NONE)
            sets = [(n,) for n in everything] if mode == "add-one-in" else _prefixes(everything)
            for present in sets:
                subsets.setdefault(present, " ".join(f"+ {name}" for name in present))
    for present, name in subsets.items():
        layers = []
        for component, settings in components.items():
            part = "full" if component in present else "without"
            values = getattr(settings, part)
            layers.append(_layer(values, document, "ablate", "components", component, part))
        yield Draft(name, tuple(layers), ("ablate",), present if present in crossed else None)


def _absent(present: tuple[str, ...], everything: tuple[str, ...]) -> tuple[int, list[int]]:
    """Return how many components are absent, and which by number."""
    absent = [index for index, name in enumerate(everything) if name not in present]
    return len(absent), absent


def _subset(present: tuple[str, ...], everything: tuple[str, ...]) -> str:
    """Name a row of a factorial as the other modes do, after what is the shorter to say."""
    absent = [name for name in everything if name not in present]
    if not present:
        return NONE
    if len(absent) == 1:
        return f"w/o {absent[0]}"
    return " ".join(f"+ {name}" for name in present)


def _prefixes(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [names[:length] for length in range(1, len(names) + 1)]


def _independent(file: StudyFile, document: Document) -> None:
    """Two components that switch the same setting would depend on their order: refuse them."""
    assert file.ablate is not None
    owner: dict[tuple[str, ...], str] = {}
    for name, component in file.ablate.components.items():
        path = ("ablate", "components", name)
        for part in ("without", "full"):
            for setting in flatten(_layer(getattr(component, part), document, *path, part)):
                if owner.setdefault(setting, name) != name:
                    raise ConfigError(
                        f"components '{owner[setting]}' and '{name}' both set {'.'.join(setting)}; "
                        "make them one component, or list the combinations under rows",
                        key=".".join(path),
                        where=document.where(path),
                    )


def _grid(file: StudyFile, document: Document) -> Iterator[list[Draft]]:
    for key, values in file.grid.items():
        _distinct(values, document, ("grid", key))
        yield [
            Draft(
                _label(key, value, file.grid),
                (_point({key: value}, document, ("grid", key, str(i))),),
                ("grid",),
            )
            for i, value in enumerate(values)
        ]


def _zips(file: StudyFile, document: Document) -> Iterator[list[Draft]]:
    groups = [("zip",)] if isinstance(file.zip, dict) else [("zip", str(i)) for i in range(len(file.zip))]
    for path, group in zip(groups, [file.zip] if isinstance(file.zip, dict) else file.zip, strict=True):
        if not group:
            continue
        lengths = {key: len(values) for key, values in group.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{key}: {length}" for key, length in lengths.items())
            raise ConfigError(
                f"settings that are taken in step need lists of one length, not {said}",
                key=".".join(path),
                where=document.where(path),
            )
        _distinct(list(zip(*group.values(), strict=True)), document, path)
        drafts = []
        for index, values in enumerate(zip(*group.values(), strict=True)):
            point = dict(zip(group, values, strict=True))
            name = ", ".join(_label(key, value, group) for key, value in point.items())
            layers = tuple(_point({k: v}, document, (*path, k, str(index))) for k, v in point.items())
            drafts.append(Draft(name, layers, path))
        yield drafts


def _distinct(values: Sequence[Any], document: Document, path: tuple[str, ...]) -> None:
    """Refuse an axis that has one of its points twice."""
    seen: set[str] = set()
    for value in values:
        text = json.dumps(value)
        if text in seen:
            raise ConfigError(
                f"{text} is listed twice, which makes two rows of one name",
                key=".".join(path),
                where=document.where(path),
            )
        seen.add(text)


def _point(values: dict[str, Any], document: Document, path: tuple[str, ...]) -> Layer:
    return Layer(values, lambda _: document.where(path))


def _label(key: str, value: Any, siblings: Mapping[str, Any]) -> str:
    """Name a point of an axis by the key's last part, or by the whole key where that is ambiguous."""
    last = key.rpartition(".")[2]
    short = last if sum(other.rpartition(".")[2] == last for other in siblings) == 1 else key
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")
    return f"{short}={text}"


def _excluded(drafts: list[Draft], file: StudyFile, document: Document) -> list[Draft]:
    """Leave out the rows that an exclusion matches; one that matches none is a mistake."""
    if not file.exclude:
        return drafts
    settings = [_merged((_layer(file.base, document, "base"), *draft.layers)) for draft in drafts]
    out: set[int] = set()
    for index, pattern in enumerate(file.exclude):
        path = ("exclude", str(index))
        row = pattern.get("row")
        if row is not None and not isinstance(row, str):
            raise ConfigError(
                f"a row's name is text: quote it, as {row!r} was read as a number or the like",
                key=f"exclude.{index}.row",
                where=document.where((*path, "row")),
            )
        wanted = _merged([_layer({k: v for k, v in pattern.items() if k != "row"}, document, *path)])
        hits = {
            i
            for i, (draft, merged) in enumerate(zip(drafts, settings, strict=True))
            if row in (None, draft.name) and all(merged.get(k, _ABSENT) == v for k, v in wanted.items())
        }
        if not hits:
            raise ConfigError("matches no row", key=f"exclude.{index}", where=document.where(path))
        for i in hits:
            if drafts[i].present is not None:
                raise ConfigError(
                    f"takes the row '{drafts[i].name}' out of the factorial, which would no longer be balanced",
                    key=f"exclude.{index}",
                    where=document.where(path),
                )
        out |= hits
    return [draft for i, draft in enumerate(drafts) if i not in out]


_ABSENT = object()


def _merged(layers: Sequence[Layer]) -> dict[tuple[str, ...], Any]:
    return {path: setting.value for layer in layers for path, setting in flatten(layer).items()}


def _unique(drafts: Sequence[Draft], document: Document) -> None:
    seen: set[str] = set()
    for draft in drafts:
        if draft.name in seen:
            raise ConfigError(
                f"two rows are called '{draft.name}'",
                key=".".join(draft.source),
                where=document.where(draft.source),
            )
        seen.add(draft.name)
