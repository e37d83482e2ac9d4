"""FAR, and with other settings the plain ViT that VideoMAE and MVD fine-tune."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from far.architecture import counting
from far.architecture.classifiers import CLASSIFIERS
from far.architecture.counting import Count
from far.architecture.head_split import split_heads
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.networks import NETWORKS, ModelConfig, Network
from far.architecture.position_embeddings import EMBEDDINGS
from far.architecture.token_order import group_sizes
from far.errors import ConfigError
from far.strict import Positive, ReadBy, named_in

HeadLayout = dict[str, Positive]
"""Shares of the heads by attention pattern, e.g. ``{global: 2, sparse-dense: 1}``; order is head order."""


class FarConfig(ModelConfig):
    """FAR's section; shares of heads become numbers of heads."""

    attention: HeadLayout | list[HeadLayout] = Field(
        default={"global": 1, "sparse-dense": 1},
        examples=[{"global": 2, "sparse-dense": 1}, [{"global": 1}, {"sparse-dense": 1}]],
    )
    """One head layout for all blocks, or a list that is tiled over the blocks."""
    interaction: Annotated[str, named_in(INTERACTIONS)] = "bottleneck"
    interaction_position: Annotated[str, named_in(POSITIONS), ReadBy(INTERACTIONS)] = "before-attention"
    classifier: Annotated[str, named_in(CLASSIFIERS)] = "group-mean"

    def identified(self) -> dict[str, Any]:
        """See :meth:`ModelConfig.identified`; which heads have which pattern counts: pairs, not a mapping."""
        return {**super().identified(), "attention": [list(layout.items()) for layout in self.layouts]}

    @property
    def needs_the_batch(self) -> bool:
        """See :class:`ModelConfig`."""
        return INTERACTIONS[self.interaction].needs_the_batch

    @property
    def layouts(self) -> list[dict[str, int]]:
        """The number of heads by pattern, one layout per block."""
        _, depth, heads = self.sizes
        tiles = self.attention if isinstance(self.attention, list) else [self.attention]
        return [split_heads(tiles[block % len(tiles)], heads) for block in range(depth)]


class Far(Network[FarConfig]):
    """The network of ``far.model.vit``: head-split attention, token-group interaction, group-mean classifier."""

    section = FarConfig
    builder = "far.model.vit:build"
    starts_from_weights = True

    def check(self, model: FarConfig) -> None:
        """See :meth:`Network.check`."""
        width, _, heads = model.sizes
        INTERACTIONS.check(model.interaction, model)
        EMBEDDINGS.check(model.embedding, width)
        CLASSIFIERS.check(model.classifier, model)
        layouts = model.attention if isinstance(model.attention, list) else [model.attention]
        if not layouts:
            raise ConfigError("an empty list of head layouts", key="model.attention")
        for layout in layouts:
            split_heads(layout, heads)

    def count(self, model: FarConfig, classes: int) -> Count:
        """See :meth:`Network.count`."""
        width, depth, heads = model.sizes
        tokens, hidden = math.prod(model.grid), int(width * model.mlp_ratio)
        classifier = CLASSIFIERS[model.classifier]
        features = classifier.features(model)
        block = counting.norm(tokens, width) + counting.attention(tokens, width, [], biases=2 * width)
        block += counting.norm(tokens, width) + counting.mlp(tokens, width, hidden)
        block += INTERACTIONS[model.interaction].count(model)
        return counting.total(
            [
                counting.linear(tokens, 3 * math.prod(model.tubelet), width),
                counting.values(tokens * width * EMBEDDINGS[model.embedding].is_learned),
                block * depth,
                *(
                    counting.products(width // heads * n, group_sizes(name, model.grid).tolist())
                    for layout in model.layouts
                    for name, n in layout.items()
                ),
                *(counting.kept(tokens * width) for layout in model.layouts if len(layout) > 1),  # slices are joined
                classifier.count(model),
                counting.norm(features, width),
                counting.linear(1, features * width, classes),
            ]
        )


NETWORKS.register("far")(Far())
