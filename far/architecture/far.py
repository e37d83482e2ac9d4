"""FAR, and with other settings the plain ViT that VideoMAE and MVD fine-tune."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from far.architecture import counting
from far.architecture.classifiers import CLASSIFIERS
from far.architecture.counting import Count
from far.architecture.head_split import split_heads
from far.architecture.interactions import INTERACTIONS
from far.architecture.networks import NETWORKS, Network
from far.architecture.position_embeddings import EMBEDDINGS
from far.architecture.token_order import group_sizes
from far.errors import ConfigError

if TYPE_CHECKING:
    from far.config.trial import ModelConfig
    from far.model.interface import VideoNetwork


class Far(Network):
    """The network of ``far.model.vit``: head-split attention, token-group interaction, group-mean classifier."""

    def check(self, model: ModelConfig) -> None:
        """See :meth:`Network.check`."""
        width, _, heads = model.sizes
        _interaction_fits(model)
        if model.embedding == "sincos-3d" and width % 16:
            raise ConfigError(
                f"'sincos-3d' needs a width that 16 divides, not {width}",
                key="model.position_embedding",
                choices=[name for name in EMBEDDINGS if name != "sincos-3d"],
            )
        layouts = model.attention if isinstance(model.attention, list) else [model.attention]
        if not layouts:
            raise ConfigError("an empty list of head layouts", key="model.attention")
        for layout in layouts:
            split_heads(layout, heads)

    def count(self, model: ModelConfig, classes: int) -> Count:
        """See :meth:`Network.count`."""
        width, depth, heads = model.sizes
        tokens, hidden = math.prod(model.grid), int(width * model.mlp_ratio)
        pooled = len(group_sizes(CLASSIFIERS[model.classifier], model.grid))
        block = counting.norm(tokens, width) + counting.attention(tokens, width, [], biases=2 * width)
        block += counting.norm(tokens, width) + counting.mlp(tokens, width, hidden) + _interaction(model)
        return counting.total(
            [
                counting.linear(tokens, 3 * math.prod(model.tubelet), width),
                counting.values(tokens * width if EMBEDDINGS[model.embedding] is None else 0),
                block * depth,
                *(
                    counting.products(width // heads * n, group_sizes(name, model.grid).tolist())
                    for layout in model.layouts
                    for name, n in layout.items()
                ),
                *(counting.kept(tokens * width) for layout in model.layouts if len(layout) > 1),  # slices are joined
                counting.norm(pooled, width),
                counting.linear(1, pooled * width, classes),
            ]
        )

    def build(
        self, model: ModelConfig, classes: int, *, seed: int, activation_checkpointing: bool = False
    ) -> VideoNetwork:
        """See :meth:`Network.build`."""
        from far.model.vit import build

        return build(model, classes, seed=seed, activation_checkpointing=activation_checkpointing)

    def skeleton(self, model: ModelConfig, classes: int) -> VideoNetwork:
        """See :meth:`Network.skeleton`."""
        import torch

        from far.model.vit import VideoTransformer

        with torch.device("meta"):
            return VideoTransformer(model, classes)


NETWORKS.register("far")(Far())


def _interaction(model: ModelConfig) -> Count:
    spec = INTERACTIONS[model.interaction]
    if spec is None:
        return Count()
    width, _, heads = model.sizes
    tokens, hidden = math.prod(model.grid), spec.hidden(width)
    biases = 0 if spec.norm == "batch" else None
    branch = (
        counting.linear(tokens, width, hidden, biases=biases)
        + counting.convolution(tokens, hidden, spec.groups(heads), spec.kernel, biases=biases)
        + counting.linear(tokens, hidden, width, biases=biases)
        + counting.kept(2 * tokens * hidden)  # a GELU after each of the first two
    )
    if spec.norm == "batch":
        return branch + counting.batch_norm(tokens, hidden) * 2 + counting.batch_norm(tokens, width)
    return branch + counting.norm(tokens, width)


def _interaction_fits(model: ModelConfig) -> None:
    spec = INTERACTIONS[model.interaction]
    if spec is None:
        return
    width, _, heads = model.sizes
    if width % spec.reduction:
        raise ConfigError(
            f"the interaction needs a width that {spec.reduction} divides, not {width}",
            key="model.width",
            choices=[width - width % spec.reduction, width + -width % spec.reduction],
        )
    hidden, groups = spec.hidden(width), spec.groups(heads)
    if hidden % groups:
        raise ConfigError(
            f"the interaction's {groups} groups do not divide its {hidden} channels",
            key="model.interaction",
            choices=[name for name, each in INTERACTIONS.items() if each is None or not hidden % each.groups(heads)],
        )
