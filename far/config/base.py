"""What every section of the configuration is made of: strictness, and types that several sections use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from far.errors import ConfigError
from far.registry import Registry

Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A section of the configuration: strict types, no unknown keys, immutable once resolved."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True)


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
