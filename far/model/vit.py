"""The network: a plain video ViT whose attention, interaction and classifier come from the registries.

Parameter names are those of a VideoMAE fine-tune state dict; the interaction adds ``blocks.i.interaction.*``.
Legend of shapes: B clips, N tokens in stored order (``far.architecture.token_order``), D width, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from far.architecture.classifiers import CLASSIFIERS
from far.architecture.far import FarConfig
from far.architecture.interactions import INTERACTIONS, POSITIONS
from far.architecture.position_embeddings import EMBEDDINGS
from far.architecture.token_order import Grouping, grouping, token_order
from far.model.attention import HeadSplitAttention
from far.model.drop_path import BRANCHES
from far.model.init import initialise
from far.model.interface import VideoNetwork
from far.model.permutation import Permutation
from far.model.precise import PreciseLayerNorm, PreciseLinear


class TubeletConv(nn.Conv3d):
    """A convolution whose stride is its kernel, computed as one matrix product."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, 3, frames, height, width) to (B, N, D), raster order."""
        t, h, w = self.kernel_size
        x = input.unflatten(4, (-1, w)).unflatten(3, (-1, h)).unflatten(2, (-1, t))  # B, 3, T, t, H, h, W, w
        x = x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        return F.linear(x, self.weight.flatten(1), self.bias)


class PatchEmbedding(nn.Module):
    """Cut clips into tubelets and embed each; the names are VideoMAE's."""

    def __init__(self, config: FarConfig) -> None:
        super().__init__()
        frames, height, width = config.tubelet
        tubelet = (frames, height, width)
        self.proj = TubeletConv(3, config.sizes[0], tubelet, stride=tubelet)

    def forward(self, clips: Tensor) -> Tensor:
        """Map (B, 3, frames, height, width) to (B, N, D), raster order."""
        return self.proj(clips)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """A list of residual branches: attention and MLP, each behind its norm, and the interaction."""

    def __init__(self, config: FarConfig, slices: list[tuple[int, Grouping]], order: Permutation):
        super().__init__()
        width = config.sizes[0]
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = HeadSplitAttention(width, slices)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * config.mlp_ratio))
        self.branches: list[tuple[str, tuple[str, ...]]] = [
            ("attention", ("norm1", "attn")),
            ("mlp", ("norm2", "mlp")),
        ]
        interaction = INTERACTIONS[config.interaction].build(config, order)
        if interaction is not None:
            self.interaction = interaction
            self.branches.insert(POSITIONS[config.interaction_position], ("interaction", ("interaction",)))

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Map (B, N, D) to (B, N, D); ``keep`` (B, branches) holds drop path's factors."""
        for branch, names in self.branches:
            y = x
            for name in names:
                y = getattr(self, name)(y)
            x = x + y if keep is None else torch.addcmul(x, y, keep[:, BRANCHES.index(branch), None, None])
        return x


class VideoTransformer(VideoNetwork):
    """Logits of clips. Build it with :func:`build`, which also gives it initial values.

    Args:
        config: the validated model section.
        classes: number of classes C.
        activation_checkpointing: recompute each block's activations in the backward pass instead of keeping
            them.
    """

    config: FarConfig
    positions: Tensor
    not_decayed = ("pos_embed",)

    def __init__(self, config: FarConfig, classes: int, *, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = activation_checkpointing
        width = config.sizes[0]
        order = _order(config)
        self.order = Permutation(order)
        self.patch_embed = PatchEmbedding(config)
        shape = (1, len(order), width)
        if EMBEDDINGS[config.embedding].is_learned:
            self.pos_embed = nn.Parameter(torch.empty(shape))
        else:
            self.register_buffer("positions", torch.empty(shape), persistent=False)
        slices = [[(n, grouping(name, config.grid, order)) for name, n in layout.items()] for layout in config.layouts]
        self.blocks = nn.ModuleList(Block(config, each, self.order) for each in slices)
        classifier = CLASSIFIERS[config.classifier]
        self.pool = classifier.build(config, self.order)
        self.fc_norm = PreciseLayerNorm(width, eps=1e-6)
        self.head = PreciseLinear(width * classifier.features(config), classes)

    def reset_buffers(self) -> None:
        """Fill the position table, which a build on ``meta`` leaves empty."""
        table = EMBEDDINGS[self.config.embedding].table
        if table is not None:
            self.positions.copy_(torch.from_numpy(table(self.config.grid, self.config.sizes[0]))[None])

    def forward(self, clips: Tensor, keep: Tensor | None = None) -> Tensor:
        """Classify normalised clips.

        Args:
            clips: shape (B, 3, frames, height, width), of the parameters' type.
            keep: drop path's factors, shape (B, depth, 3), from ``far.model.drop_path.keep_factors``; None:
                keep all.

        Returns:
            Logits, shape (B, C), float32 whatever the parameters' type of 16 bits.
        """
        x = self.patch_embed(clips)
        positions = self.pos_embed if hasattr(self, "pos_embed") else self.positions
        x = self.order(x + positions.to(x.dtype))
        keep = keep if keep is None else keep.to(x.dtype)
        for index, block in enumerate(self.blocks):
            factors = None if keep is None else keep[:, index]
            if self.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, factors, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, factors)
        return self.head(self.fc_norm(self.pool(x)).flatten(1))

    def layer_of(self, name: str) -> int:
        """See :meth:`VideoNetwork.layer_of`."""
        if name.startswith(("patch_embed.", "pos_embed")):
            return 0
        return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else len(self.blocks) + 1

    def is_new(self, name: str) -> bool:
        """Whether it is the interaction's, which no ancestor has."""
        return ".interaction." in name

    @property
    def last_block(self) -> nn.Module:
        """See :meth:`VideoNetwork.last_block`."""
        return self.blocks[-1]

    def to_grid(self, tokens: Tensor) -> Tensor:
        """See :meth:`VideoNetwork.to_grid`; the tokens are in stored order."""
        return self.order.undo(tokens).transpose(1, 2).unflatten(2, self.config.grid)

    def from_grid(self, volume: Tensor, tokens: Tensor) -> Tensor:
        """See :meth:`VideoNetwork.from_grid`."""
        return self.order(volume.flatten(2).transpose(1, 2))


def _order(config: FarConfig) -> NDArray[np.int64]:
    names = [name for layout in config.layouts for name in layout]
    return token_order([*names, *CLASSIFIERS[config.classifier].patterns], config.grid)


def build(
    model: FarConfig, classes: int, *, seed: int | None, activation_checkpointing: bool = False
) -> VideoTransformer:
    """Build the network with its initial values, fp32 on the CPU; see ``far.architecture.networks.Network.build``.

    Args:
        model: the validated model section.
        classes: number of classes.
        seed: the trial's seed; initial values are keyed by (seed, parameter name). None: no values, on ``meta``.
        activation_checkpointing: see :class:`VideoTransformer`.
    """
    with torch.device("meta"):
        net = VideoTransformer(model, classes, activation_checkpointing=activation_checkpointing)
    if seed is None:
        return net
    # As `to_empty` does, whose `empty_like` from `meta` imports sympy, 0.3 s.
    net._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu"))  # type: ignore[no-untyped-call]
    initialise(net, seed, model.init_scale)
    return net
