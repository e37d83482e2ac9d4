"""Token-group interaction: which convolutions, where in the block (paper, Section 3.2, Tables 3 and 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from far.registry import Registry


@dataclass(frozen=True)
class Bottleneck:
    """A residual branch that mixes tokens on their grid: D -> D/r, k x k x k in groups, D/r -> D, normalised.

    The paper's cost columns pin r = 4, a 3x3x3 kernel, groups = number of heads, and a normalisation of 1.2 to 6.5
    operations per element; which one, they leave open (``docs/model.md``).
    """

    groups: Callable[[int], int]
    """Maps the number of heads to the groups of the middle convolution."""
    norm: Literal["layer", "batch"] = "layer"
    """A LayerNorm before the branch, as before attention and MLP, or a BatchNorm after each convolution, as in ResNet's
    bottleneck, whose convolutions then have no biases."""
    reduction: int = 4
    kernel: tuple[int, int, int] = (3, 3, 3)
    """Along time, height and width; odd, so that the grid keeps its size."""

    @property
    def needs_the_batch(self) -> bool:
        """Whether a clip's result in training depends on the other clips of its micro-batch."""
        return self.norm == "batch"

    def hidden(self, width: int) -> int:
        """Return the channels of the middle convolution."""
        return width // self.reduction


INTERACTIONS: Registry[Bottleneck | None] = Registry("token-group interaction")
"""None: no branch at all."""
INTERACTIONS.register("none")(None)
INTERACTIONS.register("bottleneck")(Bottleneck(groups=lambda heads: heads))
INTERACTIONS.register("bottleneck-ungrouped")(Bottleneck(groups=lambda heads: 1))
INTERACTIONS.register("bottleneck-batchnorm")(Bottleneck(groups=lambda heads: heads, norm="batch"))

POSITIONS: Registry[int] = Registry("interaction position")
"""Where the interaction is inserted into a block's list of residual branches, [attention, MLP] (Table 6)."""
POSITIONS.register("before-attention")(0)
POSITIONS.register("after-attention")(1)
POSITIONS.register("after-mlp")(2)
