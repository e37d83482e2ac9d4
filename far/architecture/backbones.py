"""Sizes of the plain ViT (recipe facts: VideoMAE ``modeling_finetune.py``; the demo's own is ``tiny``)."""

from __future__ import annotations

from dataclasses import dataclass

from far.registry import Registry


@dataclass(frozen=True)
class Backbone:
    """Width D, number of blocks, and heads; the MLP is 4 D wide unless the configuration says otherwise."""

    width: int
    depth: int
    heads: int


BACKBONES: Registry[Backbone] = Registry("backbone")
BACKBONES.register("tiny")(Backbone(width=96, depth=4, heads=6))
BACKBONES.register("small")(Backbone(width=384, depth=12, heads=6))
BACKBONES.register("base")(Backbone(width=768, depth=12, heads=12))
BACKBONES.register("large")(Backbone(width=1024, depth=24, heads=16))
