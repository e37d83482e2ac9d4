"""A file of weights read as one family: our names, attention's projections fused, positions as one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from far.config.model import AUTO
from far.errors import ConfigError, WeightsError
from far.model.patterns import Grid
from far.weights.families import FAMILIES, candidates
from far.weights.files import open_file
from far.weights.positions import grid_of, separable

UNUSED = "not used by a classifier"
UNKNOWN = "not known to the family"
KEY_BIAS = "a key's bias changes no attention"

FRAMES = 8
"""Tokens along time of a stored table that does not say it: 16 frames in tubelets of 2, as all ancestors have."""


@dataclass(frozen=True)
class Source:
    """What a file offers.

    Attributes:
        family: name in ``far.weights.families.FAMILIES``.
        others: families that its names would also fit.
        position_embedding: the table it was trained with; ``auto`` where an own file does not say.
        tensors: by our names; a stored position table as ``pos_embed`` (1, N, D).
        grid: the grid of that table, if there is one.
        ignored: the file's names that are not used, and why.
        path: the file.
    """

    family: str
    others: tuple[str, ...]
    position_embedding: str
    tensors: Mapping[str, Tensor]
    grid: Grid | None
    ignored: Mapping[str, str]
    path: Path

    @property
    def width(self) -> int:
        """Channels of the tokens."""
        return self.tensors["patch_embed.proj.weight"].shape[0]

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return 1 + max((int(name.split(".")[1]) for name in self.tensors if name.startswith("blocks.")), default=-1)

    @property
    def classes(self) -> int | None:
        """Classes of its head, None if it has none."""
        head = self.tensors.get("head.weight")
        return None if head is None or head.ndim != 2 else head.shape[0]


def open_source(path: Path, family: str | None = None) -> Source:
    """Open a file of weights and translate it.

    Args:
        path: a file, or a directory as Hugging Face or DeepSpeed leave it.
        family: what it should be; default: what its names say.

    Raises:
        WeightsError: it cannot be opened safely, is of no known family, or not of the one named.
    """
    file = open_file(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in file.tensors.items()}
    possible = candidates({**shapes, "farlab": ()} if "farlab" in file.metadata else shapes)
    chosen = _choose(path, possible, family, list(shapes))
    spec = FAMILIES[chosen]
    tensors: dict[str, Tensor] = {}
    ignored: dict[str, str] = {}
    for name, tensor in file.tensors.items():
        known, ours = spec.translate(name)
        if ours is None:
            ignored[name] = UNUSED if known else UNKNOWN
        else:
            tensors[ours] = tensor
    _fuse(tensors, ignored)
    grid = _positions(tensors, file.metadata)
    embedding = file.metadata.get("position_embedding", spec.position_embedding)
    if "patch_embed.proj.weight" not in tensors:
        raise WeightsError(f"{path}: has no patch embedding, so it is no encoder's file ({spec.title})")
    others = tuple(name for name in possible if name != chosen)
    return Source(chosen, others, embedding, tensors, grid, ignored, path)


def _choose(path: Path, possible: list[str], family: str | None, names: list[str]) -> str:
    if family is not None and family not in FAMILIES:
        raise ConfigError(f"unknown family of weights '{family}'", key="init.family", choices=FAMILIES, got=family)
    if not possible:
        shown = ", ".join(sorted(names)[:5])
        known = ", ".join(each.title for each in FAMILIES.values())
        raise WeightsError(f"{path}: of no known family ({len(names)} tensors: {shown}, ...; known: {known})")
    if family is not None and family not in possible:
        raise WeightsError(f"{path}: is not {FAMILIES[family].title}; its names say {FAMILIES[possible[0]].title}")
    return family or possible[0]


def _fuse(tensors: dict[str, Tensor], ignored: dict[str, str]) -> None:
    """Bring every form of the projections to ``qkv.weight``, ``q_bias`` and ``v_bias``, in place.

    A bias of the keys adds the same to all scores of one query, which softmax removes: dropping it is exact.
    """
    for block in sorted({m.group(1) for name in tensors if (m := re.match(r"(blocks\.\d+\.attn)\.", name))}):
        parts = [tensors.pop(f"{block}.{part}.weight", None) for part in "qkv"]
        if all(part is not None for part in parts):
            tensors[f"{block}.qkv.weight"] = torch.cat([part for part in parts if part is not None])
        whole = tensors.pop(f"{block}.qkv.bias", None)
        biases = dict(zip("qkv", whole.chunk(3), strict=True)) if whole is not None else {}
        for part in "qkv":
            single = tensors.pop(f"{block}.{part}.bias", None)
            if single is not None:
                biases[part] = single
        if "k" in biases:
            ignored[f"{block}.k.bias"] = KEY_BIAS
        for part in "qv":
            if part in biases:
                tensors[f"{block}.{part}_bias"] = biases[part]


def _positions(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> Grid | None:
    """Bring a stored position table to one tensor ``pos_embed``, in place, and return its grid."""
    spatial, temporal = (tensors.pop(f"pos_embed_{axis}", None) for axis in ("spatial", "temporal"))
    if spatial is not None and temporal is not None:
        tensors["pos_embed"] = separable(spatial, temporal)
        return grid_of(tensors["pos_embed"].shape[1], temporal.shape[1])
    table = tensors.get("pos_embed")
    if table is None:
        return None
    if "grid" in metadata:
        t, h, w = (int(part) for part in metadata["grid"].split(","))
        return t, h, w
    if table.shape[1] % FRAMES == 1:  # a class token's row comes first
        table = tensors["pos_embed"] = table[:, 1:]
    return grid_of(table.shape[1], FRAMES)


def resolved_embedding(configured: str, source: Source) -> str:
    """Return the position embedding that a network with these weights has.

    Raises:
        ConfigError: it is left to the file, and the file does not say.
    """
    if configured != AUTO:
        return configured
    if source.position_embedding == AUTO:
        raise ConfigError(
            f"{source.path} does not say which position embedding it was trained with",
            key="model.position_embedding",
            choices=["sinusoid-1d", "sincos-3d", "learned"],
        )
    return source.position_embedding
