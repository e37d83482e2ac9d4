"""Classifiers: how the final tokens become the few features that one LayerNorm and one linear layer classify.

The paper's (Figure 4, Table 4) are means over groups of tokens, concatenated; the global mean is the same over a single
group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from far.architecture.counting import Count
from far.architecture.networks import ModelConfig
from far.architecture.token_order import TokenOrder, group_sizes, grouping
from far.registry import Registry, named


class Classifier(ABC):
    """A kind of classifier: from the final tokens to features, what these cost, and how they are computed.

    Attributes:
        builder: ``"module:name"`` of the module's class, if another file has it.
        patterns: attention patterns whose groups are best stored one after the other.
    """

    builder: ClassVar[str] = ""
    patterns: tuple[str, ...] = ()

    def check(self, model: ModelConfig) -> None:  # noqa: B027  (nothing more is the usual case)
        """Check that the classifier is possible in a network of these sizes.

        Raises:
            ConfigError: it is not.
        """

    @abstractmethod
    def features(self, model: ModelConfig) -> int:
        """Return the number of features of D channels that are concatenated."""

    @abstractmethod
    def build(self, model: ModelConfig, order: TokenOrder) -> Any:
        """Return a torch module that maps stored tokens (B, N, D) to features (B, features, D)."""

    def count(self, model: ModelConfig) -> Count:
        """Return FLOPs of one clip and parameters of that module; means count nothing."""
        return Count()

    def reference(self, x: Any, values: Mapping[str, Any], model: ModelConfig) -> Any:
        """Return the features of tokens in raster order, written out plainly; see ``Interaction.reference``."""
        return named("far.testing.reference:in_raster_order")(self, x, values, model)


@dataclass(frozen=True)
class GroupMeans(Classifier):
    """The mean over each group of an attention pattern."""

    pattern: str

    builder = "far.model.pooling:GroupMean"

    @property
    def patterns(self) -> tuple[str, ...]:  # type: ignore[override]
        """See :class:`Classifier`."""
        return (self.pattern,)

    def features(self, model: ModelConfig) -> int:
        """See :meth:`Classifier.features`."""
        return len(group_sizes(self.pattern, model.grid))

    def build(self, model: ModelConfig, order: TokenOrder) -> Any:
        """See :meth:`Classifier.build`."""
        return named(self.builder)(grouping(self.pattern, model.grid, order.order))

    def reference(self, x: Any, values: Mapping[str, Any], model: ModelConfig) -> Any:
        """See :meth:`Classifier.reference`."""
        return named("far.testing.reference:group_means")(self, x, values, model)


CLASSIFIERS: Registry[Classifier] = Registry("classifier", "model.classifier")
CLASSIFIERS.register("global-mean")(GroupMeans("global"))
CLASSIFIERS.register("group-mean")(GroupMeans("sparse-dense"))
