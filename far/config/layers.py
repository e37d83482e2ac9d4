"""Layers of settings: a profile, a study's base, a row, the command line; later layers win.

Each layer is a mapping of keys, nested or dotted. A mapping given to a section of the schema sets the keys it names;
a value given to a setting replaces it whole (so ``model.attention: {global: 1}`` is all-global attention).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, get_args

from far.config.combinations import Conflict, conflicts, without_effect
from far.config.document import parse_yaml
from far.config.messages import shown, validated
from far.config.trial import Strict, TrialConfig
from far.errors import ConfigError

Where = Callable[[tuple[str, ...]], str]
"""Maps a path of keys inside a layer to a place a person can go to, e.g. ``study.yaml:7``."""
EPOCHS, WARMUP = ("recipe", "epochs"), ("recipe", "warmup_epochs")


class Source(IntEnum):
    """Who set a setting, from the general to the particular."""

    RECORD = 0
    """A trial of before, which is taken as it is."""
    PROFILE = 1
    BASE = 2
    """A study, for all of its rows."""
    TYPED = 3
    """A row, an axis or the command line: set for just these trials."""


@dataclass(frozen=True)
class Layer:
    """Settings from one place."""

    values: Mapping[str, Any]
    where: Where
    source: Source = Source.TYPED


class Setting(NamedTuple):
    """A value, where it stands, and whose it is."""

    value: Any
    where: str
    source: Source


@dataclass(frozen=True)
class Resolved:
    """A configuration, and what was adapted in it, in words."""

    config: TrialConfig
    notes: tuple[str, ...] = ()


def parse_override(text: str) -> Layer:
    """Read one ``dotted.key=value`` of the command line; the value is YAML.

    Raises:
        ConfigError: there is no ``=``, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"'{text}' is not of the form key=value", where="command line")
    try:
        parsed = parse_yaml(value, "command line")
    except ConfigError as error:
        raise error.at(key=key) from None
    return Layer({key: parsed}, lambda _: "command line")


def parse_overrides(texts: Sequence[str]) -> tuple[Layer, ...]:
    """Read the overrides of a command line.

    Raises:
        ConfigError: see ``parse_override``; or one of them undoes another.
    """
    layers = tuple(parse_override(text) for text in texts)
    seen: set[tuple[str, ...]] = set()
    for layer in layers:
        for path in flatten(layer):
            if path in seen:
                raise ConfigError("is given twice", key=".".join(path), where="command line")
            seen.add(path)
    return layers


def section_of(schema: type[Strict], name: str) -> type[Strict] | None:
    """Return the schema of a field that is a section of its own, else None.

    Raises:
        ConfigError: the schema has no such field.
    """
    fields = schema.fields()
    if name not in fields:
        raise ConfigError(f"unknown key '{name}'", choices=fields, got=name)
    annotation = fields[name].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Strict):
            return candidate
    return None


def flatten(layer: Layer, schema: type[Strict] = TrialConfig) -> dict[tuple[str, ...], Setting]:
    """Return every setting of a layer by its full path.

    Raises:
        ConfigError: a key is unknown or set twice (nested and dotted), or a plain value stands where a section is.
    """
    found: dict[tuple[str, ...], Setting] = {}

    def walk(section: type[Strict], prefix: tuple[str, ...], raw: tuple[str, ...], values: Any) -> None:
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
                if path in found:
                    raise ConfigError(
                        f"duplicate key: it is set in {found[path].where} as well",
                        key=".".join(path),
                        where=layer.where(here),
                    )
                found[path] = Setting(value, layer.where(here), layer.source)
            elif isinstance(value, Mapping):
                walk(nested, path, here, value)
            else:
                raise ConfigError(
                    f"'{last}' is a section and needs keys, not {value!r}",
                    key=".".join(path),
                    where=layer.where(here),
                    choices=nested.fields(),
                )

    walk(schema, (), (), layer.values)
    return found


def resolve(layers: Iterable[Layer]) -> TrialConfig:
    """Lay settings over each other and validate the whole; see :func:`resolved`."""
    return resolved(layers).config


def resolved(layers: Iterable[Layer]) -> Resolved:
    """Lay settings over each other, validate the whole, and fit a profile's warm-up to a shorter training.

    Raises:
        ConfigError: with the place and the dotted key of what is wrong, and of what it does not go together with.
    """
    settings: dict[tuple[str, ...], Setting] = {}
    profile_epochs = TrialConfig().recipe.epochs
    for layer in layers:
        for path, setting in flatten(layer).items():
            settings.pop(path, None)  # so that they stand in the order in which they were set
            settings[path] = setting
            if path == EPOCHS and layer.source is Source.PROFILE and isinstance(setting.value, int):
                profile_epochs = setting.value
    tree: dict[str, Any] = {}
    for path, setting in settings.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = setting.value
    places = {path: setting.where for path, setting in settings.items()}
    config = validated(TrialConfig, tree, lambda path: _nearest(places, path))
    made = _with_scaled_warmup(config, settings, profile_epochs)
    for conflict in conflicts(made.config):
        by = {key: settings[path].source for key in conflict.keys if (path := tuple(key.split("."))) in settings}
        is_profiles = conflict.of_execution and all(by.get(k) is Source.PROFILE for k in by if k.startswith("run."))
        if set(by.values()) != {Source.RECORD} and not is_profiles:
            raise _as_error(conflict, made.config, settings)
    return made


def refuse_without_effect(trials: Iterable[tuple[TrialConfig, Sequence[Layer]]]) -> None:
    """Refuse settings that change nothing in any of the trials that they are typed for.

    Args:
        trials: each configuration, with the layers that were typed for it: a row's and the command line's.

    Raises:
        ConfigError: with the place and the key of the setting, and what takes its effect away.
    """
    idle: dict[tuple[str, str, str], str] = {}
    effective: set[tuple[str, str, str]] = set()
    for config, layers in trials:
        reasons = without_effect(config)
        last = {path: setting for layer in layers for path, setting in flatten(layer).items()}
        for path, setting in last.items():
            key = ".".join(path)
            if setting.source is Source.TYPED and setting.value is not None:
                typed = key, setting.where, shown(setting.value)
                if key in reasons:
                    idle.setdefault(typed, reasons[key])
                else:
                    effective.add(typed)
    for typed, reason in idle.items():
        if typed not in effective:
            raise ConfigError(f"has no effect: {reason}", key=typed[0], where=typed[1])


def _with_scaled_warmup(
    config: TrialConfig, settings: Mapping[tuple[str, ...], Setting], profile_epochs: int
) -> Resolved:
    """Scale a warm-up set only by the profile to a training that is shorter than it."""
    recipe = config.recipe
    own = WARMUP in settings and settings[WARMUP].source is not Source.PROFILE
    shortened = EPOCHS in settings and settings[EPOCHS].source is not Source.PROFILE
    if not own and shortened and recipe.epochs == recipe.warmup_epochs < profile_epochs:  # trials keep their key
        text = f"recipe.warmup_epochs = {recipe.warmup_epochs:g} is all of recipe.epochs = {recipe.epochs}"
        return Resolved(config, (f"{text}: the rate only rises; set it to have another",))
    if own or not shortened or not recipe.epochs < recipe.warmup_epochs <= profile_epochs:
        return Resolved(config)
    scaled = round(recipe.warmup_epochs * recipe.epochs / profile_epochs, 6)
    note = (
        f"recipe.warmup_epochs = {scaled:g}: {recipe.warmup_epochs:g} of {profile_epochs} epochs, scaled to "
        f"recipe.epochs = {recipe.epochs}; set it to have another"
    )
    return Resolved(
        config.model_copy(update={"recipe": recipe.model_copy(update={"warmup_epochs": scaled})}),
        (note,),
    )


def _as_error(conflict: Conflict, config: TrialConfig, settings: Mapping[tuple[str, ...], Setting]) -> ConfigError:
    """Name all settings that do not go together, at the place of the one that was set last."""
    order = {".".join(path): number for number, path in enumerate(settings)}
    key, *others = sorted(conflict.keys, key=lambda key: order.get(key, -1), reverse=True)
    places = {".".join(path): setting.where for path, setting in settings.items()}

    def said(key: str) -> str:
        return f"{key} = {_value(config, key)}" + (f" ({places[key]})" if key in places else "")

    given = f"{_value(config, key)} with {' and '.join(map(said, others))}: " if others else ""
    return ConfigError(given + conflict.message, key=key, where=places.get(key))


def _value(config: TrialConfig, key: str) -> str:
    return shown(functools.reduce(getattr, key.split("."), config))


def _nearest(places: Mapping[tuple[str, ...], str], path: tuple[str, ...]) -> str:
    """Return the place of a setting, of its nearest ancestor, or of what was set last below it, else of a sibling."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    for around in (path, path[:-1]):
        near = [where for key, where in places.items() if around and key[: len(around)] == around]
        if near:
            return near[-1]
    return ""
