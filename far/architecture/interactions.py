"""Token-group interaction: a residual branch that mixes tokens, and where it stands in the block.

An interaction of any kind is one :class:`Interaction`; the paper's is a bottleneck of convolutions (Section 3.2, Tables
3 and 6).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from far.architecture import counting
from far.architecture.counting import Count
from far.architecture.networks import ModelConfig
from far.architecture.token_order import TokenOrder
from far.errors import ConfigError
from far.registry import Registry, named


class Interaction(ABC):
    """A kind of interaction: how it is built, what it costs, what it needs.

    Attributes:
        builder: ``"module:name"`` of the module's class, if another file has it.
        needs_the_batch: whether a clip's result in training depends on the other clips of its micro-batch.
        reads: settings that only a network with an interaction reads.
    """

    builder: ClassVar[str] = ""
    needs_the_batch: bool = False
    reads: ClassVar[Collection[str]] = ("model.interaction_position", "recipe.new_module_lr")

    def check(self, model: ModelConfig) -> None:  # noqa: B027  (nothing more is the usual case)
        """Check that the interaction is possible in a network of these sizes.

        Raises:
            ConfigError: it is not.
        """

    @abstractmethod
    def build(self, model: ModelConfig, order: TokenOrder) -> Any:
        """Return a torch module that maps stored tokens (B, N, D) to the branch's output (B, N, D).

        Args:
            model: the model section: sizes and grid.
            order: maps tokens in raster order to stored order; ``order.undo`` maps them back.
        """

    @abstractmethod
    def count(self, model: ModelConfig) -> Count:
        """Return FLOPs of one clip and parameters of one branch."""

    def reference(self, x: Any, values: Mapping[str, Any], model: ModelConfig) -> Any:
        """Return the branch's output in evaluation for tokens in raster order, written out plainly, for the tests.

        Default: the module itself, built for raster order, which shows that it depends on no order.

        Args:
            x: shape (B, N, D).
            values: the module's parameters and buffers by name.
            model: the model section: sizes and grid.
        """
        return named("far.testing.reference:in_raster_order")(self, x, values, model)


class Absent(Interaction):
    """No branch at all."""

    reads = ()

    def build(self, model: ModelConfig, order: TokenOrder) -> None:
        """Return no module."""

    def count(self, model: ModelConfig) -> Count:
        """Return nothing."""
        return Count()


@dataclass(frozen=True)
class Bottleneck(Interaction):
    """Convolutions over the grid: D -> D/r, k x k x k in groups, D/r -> D, normalised.

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

    builder = "far.model.interaction:BottleneckInteraction"

    @property
    def needs_the_batch(self) -> bool:  # type: ignore[override]
        """See :class:`Interaction`."""
        return self.norm == "batch"

    def hidden(self, width: int) -> int:
        """Return the channels of the middle convolution."""
        return width // self.reduction

    def check(self, model: ModelConfig) -> None:
        """See :meth:`Interaction.check`."""
        width, _, heads = model.sizes
        if width % self.reduction:
            raise ConfigError(
                f"the interaction needs a width that {self.reduction} divides, not {width}",
                key="model.width",
                choices=[width - width % self.reduction, width + -width % self.reduction],
            )
        if self.hidden(width) % self.groups(heads):
            raise ConfigError(
                f"the interaction's {self.groups(heads)} groups do not divide its {self.hidden(width)} channels"
            )

    def build(self, model: ModelConfig, order: TokenOrder) -> Any:
        """See :meth:`Interaction.build`."""
        width, _, heads = model.sizes
        return named(self.builder)(self, width, heads, model.grid, order)

    def count(self, model: ModelConfig) -> Count:
        """See :meth:`Interaction.count`."""
        width, _, heads = model.sizes
        tokens, hidden = math.prod(model.grid), self.hidden(width)
        biases = 0 if self.needs_the_batch else None
        branch = (
            counting.linear(tokens, width, hidden, biases=biases)
            + counting.convolution(tokens, hidden, self.groups(heads), self.kernel, biases=biases)
            + counting.linear(tokens, hidden, width, biases=biases)
            + counting.kept(2 * tokens * hidden)  # a GELU after each of the first two
        )
        if self.needs_the_batch:
            return branch + counting.batch_norm(tokens, hidden) * 2 + counting.batch_norm(tokens, width)
        return branch + counting.norm(tokens, width)

    def reference(self, x: Any, values: Mapping[str, Any], model: ModelConfig) -> Any:
        """See :meth:`Interaction.reference`."""
        return named("far.testing.reference:bottleneck")(self, x, values, model)


INTERACTIONS: Registry[Interaction] = Registry("token-group interaction", "model.interaction")
INTERACTIONS.register("none")(Absent())
INTERACTIONS.register("bottleneck")(Bottleneck(groups=lambda heads: heads))
INTERACTIONS.register("bottleneck-ungrouped")(Bottleneck(groups=lambda heads: 1))
INTERACTIONS.register("bottleneck-batchnorm")(Bottleneck(groups=lambda heads: heads, norm="batch"))


POSITIONS: Registry[int] = Registry("interaction position", "model.interaction_position")
"""Where the interaction is inserted into a block's list of residual branches, [attention, MLP] (Table 6)."""
POSITIONS.register("before-attention")(0)
POSITIONS.register("after-attention")(1)
POSITIONS.register("after-mlp")(2)
