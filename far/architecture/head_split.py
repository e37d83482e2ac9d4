"""Head layouts: from shares by attention pattern to numbers of heads."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from far.architecture.patterns import PATTERNS
from far.errors import ConfigError


def split_heads(layout: Mapping[str, int], heads: int) -> dict[str, int]:
    """Turn shares into numbers of heads, e.g. ``{global: 1, sparse-dense: 1}`` of 6 into 3 and 3.

    Raises:
        ConfigError: a pattern is unknown, or the shares do not divide the heads exactly.
    """
    if not layout:
        raise ConfigError("an empty head layout", key="model.attention", choices=PATTERNS)
    for name in layout:
        try:
            PATTERNS[name]
        except ConfigError as error:
            raise error.at(key="model.attention") from None
    total = sum(layout.values())
    if any(share * heads % total for share in layout.values()):
        ratio = ":".join(str(share) for share in layout.values())
        parts = (p for p in itertools.product(range(1, heads), repeat=len(layout)) if sum(p) == heads)
        possible = [":".join(map(str, p)) for p in itertools.islice(parts, 30)] if len(layout) <= heads else []
        raise ConfigError(
            f"the ratio {ratio} ({', '.join(layout)}) does not divide {heads} heads",
            key="model.attention",
            choices=possible,
            got=ratio,
        )
    return {name: share * heads // total for name, share in layout.items()}
