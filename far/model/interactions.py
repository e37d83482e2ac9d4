"""Token-group interaction: which convolutions, and where in the block (paper, Section 3.2, Tables 3 and 6)."""

from __future__ import annotations

from collections.abc import Callable

from far.registry import Registry

Groups = Callable[[int], int | None]
"""Maps the number of heads to the groups of the 3x3x3 convolution; None: no interaction at all."""

INTERACTIONS: Registry[Groups] = Registry("token-group interaction")
INTERACTIONS.register("none")(lambda heads: None)
INTERACTIONS.register("bottleneck")(lambda heads: heads)
INTERACTIONS.register("bottleneck-ungrouped")(lambda heads: 1)

POSITIONS: tuple[str, ...] = ("before-attention", "after-attention", "after-mlp")
"""Where the interaction's residual branch is inserted when a block is built (Table 6)."""
