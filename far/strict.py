"""What every section of the configuration is made of: strictness, and types that several sections use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field
from pydantic.fields import FieldInfo

from far.errors import ConfigError
from far.registry import Registry

LARGEST = 10**9
"""No size or number of this project is larger; what is would only end in a crash further on."""

Positive = Annotated[int, Field(ge=1, le=LARGEST)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Added:
    """Marks a setting that came later: ``Annotated[str, Added("own")]``.

    At the value that earlier trials had without the setting it is left out of a trial's identity, so that their keys
    stay what they were. Without the mark a new setting changes every key.

    Attributes:
        before: what earlier trials had.
    """

    before: object


@dataclass(frozen=True)
class ReadBy:
    """Marks a setting that only some variants of an axis read: ``Annotated[Positive, ReadBy(SAMPLERS)]``.

    With a variant that does not read it, it has no effect and does not count in a trial's identity.

    Attributes:
        registry: of the axis; its variants say what they read.
    """

    registry: Registry[Any]


@dataclass(frozen=True)
class Uncounted:
    """Marks a setting that says how something is done and changes no number; it is in no trial's identity."""


Bytes = Annotated[ByteSize, Field(ge=0, le=1 << 60)]
"""A number of bytes, or a text such as ``1 GiB`` or ``500 MB``."""


def named_in(registry: Registry[Any]) -> AfterValidator:
    """Mark a setting that holds a name of a registry: ``Annotated[str, named_in(SAMPLERS)]``.

    Any other name is a ``ConfigError`` about the registry's ``key``, when the setting is read.
    """
    return AfterValidator(lambda name: known(registry, name, registry.key))


class Strict(BaseModel):
    """A section of the configuration: strict types, finite numbers, no unknown keys, immutable once resolved."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def fields(cls) -> Mapping[str, FieldInfo]:
        """Return the settings that may stand in the section, by name."""
        return {name: field for each in reversed(cls.members()) for name, field in each.model_fields.items()}

    @classmethod
    def members(cls) -> Sequence[type[Strict]]:
        """Return the classes that a section may have: its own, unless the section is a union."""
        return [cls]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> type[Strict]:
        """Return the class that a section with these values has: its own, unless the section is a union."""
        return cls

    @classmethod
    def uncounted(cls) -> set[str]:
        """Return the section's settings that change no number."""
        marked = ((name, described.metadata) for name, described in cls.model_fields.items())
        return {name for name, marks in marked if any(isinstance(mark, Uncounted) for mark in marks)}

    def counted(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """Return the settings as plain data, without those that came later and are as before, or that change nothing.

        Args:
            exclude: further settings of this section to leave out.
        """
        dumped = self.model_dump(mode="json", exclude=set(exclude))
        for name, described in type(self).model_fields.items():
            value = getattr(self, name)
            if any(_is_left_out(mark, value) for mark in described.metadata):
                dumped.pop(name, None)
            elif isinstance(value, Strict) and name in dumped:
                dumped[name] = value.counted()
        return dumped


def _is_left_out(mark: object, value: object) -> bool:
    return isinstance(mark, Uncounted) or (isinstance(mark, Added) and mark.before == value)


def known(registry: Registry[Any], name: str, key: str) -> str:
    """Return a name that the registry has.

    Raises:
        ConfigError: it has none of this name; ``key`` is the setting's.
    """
    try:
        registry[name]
    except ConfigError as error:
        raise error.at(key=key) from None
    return name
