"""A file of weights read as one family: our names, attention's projections fused, positions as one table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from far.architecture.patterns import Grid
from far.architecture.position_embeddings import AUTO, EMBEDDINGS, LEARNED
from far.errors import ConfigError, WeightsError
from far.weights.facts import Facts
from far.weights.families import FAMILIES, OURS, SURE, candidates
from far.weights.files import open_file, refuse_two
from far.weights.load_report import folded
from far.weights.positions import computed, separable

UNUSED = "not used by a classifier"
UNKNOWN = "not known to the family"
KEY_BIAS = "a key's bias changes no attention"
CLASS_TOKEN = "every token attends to it, and the model has none: its logits are not the file's"
FIRST_TOKEN = "the file's classifier reads the first token, the model's the mean of all"
TOKEN = re.compile(r"((encoder|trunk|embeddings|videomae\.embeddings)\.)?cls_token")
DECODER = re.compile(r"(trunk\.)?(decoder|mask_token|encoder_to_decoder|pred_head)")
"""What only pre-training has."""


@dataclass(frozen=True)
class Source:
    """What a file offers.

    Attributes:
        family: name in ``far.weights.families.FAMILIES``.
        others: families that its names would also fit.
        undecided: those of them, the chosen one first, that would give other numbers; empty where the file decides.
        position_embedding: the table it was trained with; ``auto`` where an own file does not say.
        tensors: by our names; a stored position table as ``pos_embed`` (1, N, D).
        grid: the grid that it was trained on, if the file says it.
        pretrained: whether it has the decoder of pre-training.
        mean_pooling: whether its classifier, if there is one, takes the mean of the tokens.
        ignored: the file's names that are not used, and why.
        facts: the file's metadata.
        path: the file.
    """

    family: str
    others: tuple[str, ...]
    undecided: tuple[str, ...]
    position_embedding: str
    tensors: Mapping[str, Tensor]
    grid: Grid | None
    pretrained: bool
    mean_pooling: bool
    ignored: Mapping[str, str]
    facts: Facts
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
    def stage(self) -> str:
        """What the network was trained for: ``pre-trained``, ``fine-tuned`` or, if unknown, ``encoder``."""
        return "pre-trained" if self.pretrained else "encoder" if self.classes is None else "fine-tuned"

    @property
    def patch(self) -> tuple[int, int, int]:
        """Frames, height and width of a token in pixels."""
        t, h, w = self.tensors["patch_embed.proj.weight"].shape[2:]
        return t, h, w

    @property
    def classes(self) -> int | None:
        """Classes of its head, None if it has none."""
        head = self.tensors.get("head.weight")
        return None if head is None or head.ndim != 2 else head.shape[0]


def open_source(path: Path, family: str | None = None, grid: Sequence[int] | None = None) -> Source:
    """Open a file of weights and translate it.

    Args:
        path: a file, or a directory as Hugging Face or DeepSpeed leave it.
        family: what it should be; default: what the file says.
        grid: tokens along time, height and width that its position table was trained on; default: what the file says.

    Raises:
        WeightsError: it cannot be opened safely, is of no known family, not of the one named, or of a network that
            none of ours is.
    """
    file = open_file(path)
    facts = file.facts
    if grid is not None:
        facts = replace(facts, grid=(grid[0], grid[1], grid[2]), said_by="init.grid")
    shapes = {name: tuple(tensor.shape) for name, tensor in file.tensors.items()}
    evidence = candidates({**shapes, "farlab": ()} if facts.family == OURS else shapes)
    chosen = _choose(path, evidence, family or _written_by(facts, evidence), list(shapes))
    spec = FAMILIES[chosen]
    tensors: dict[str, Tensor] = {}
    ignored: dict[str, str] = {}
    names: dict[str, str] = {}
    for name, tensor in file.tensors.items():
        known, ours = spec.translate(name)
        if ours is None:
            ignored[name] = CLASS_TOKEN if TOKEN.fullmatch(name) else UNUSED if known else UNKNOWN
        else:
            refuse_two(path, names.setdefault(ours, name), tensors.setdefault(ours, tensor), name, tensor)
    _check_numbers(path, {names[ours]: tensor for ours, tensor in tensors.items()})
    embed = tensors.get("patch_embed.proj.weight")
    if embed is None or embed.ndim != 5 or not embed.numel():
        shape = "has no patch embedding" if embed is None else f"its patch embedding is {tuple(embed.shape)}"
        raise WeightsError(f"{path}: {shape}, so it is no encoder's file ({spec.title})")
    pretrained = any(DECODER.match(name) for name in ignored)
    head = tensors.get("head.weight")
    if pretrained and head is not None and (head.ndim != 2 or head.shape[1] % len(embed)):
        # OmniMAE calls its decoder's last layer so.
        ignored.update({name: UNUSED for name in ("head.weight", "head.bias") if tensors.pop(name, None) is not None})
    _fuse(path, tensors, ignored, facts)
    _check_network(path, tensors, ignored, facts)
    has_class_token = CLASS_TOKEN in ignored.values()
    embedding, grid = _positions(path, tensors, facts, spec.position_embedding, has_class_token)
    decided = family is not None or facts.family == chosen or embedding != spec.position_embedding
    decided |= "pos_embed" in tensors or facts.position_embedding is not None or evidence[chosen] == SURE
    differing = [n for n in evidence if n != chosen and FAMILIES[n].position_embedding != embedding]
    headed = "head.weight" in tensors
    return Source(
        family=chosen,
        others=tuple(name for name in evidence if name != chosen),
        undecided=() if decided or not differing else (chosen, *differing),
        position_embedding=embedding,
        tensors=tensors,
        grid=grid,
        pretrained=pretrained,
        mean_pooling=facts.mean_pooling is not False and not (headed and "fc_norm.weight" not in tensors),
        ignored=ignored,
        facts=facts,
        path=path,
    )


def _written_by(facts: Facts, evidence: Mapping[str, int]) -> str | None:
    """Return the family whose script wrote the file, where names alone leave it open."""
    return facts.family if facts.family in evidence else None


def _choose(path: Path, evidence: Mapping[str, int], family: str | None, names: list[str]) -> str:
    if family is not None and family not in FAMILIES:
        raise ConfigError(f"unknown family of weights '{family}'", key="init.family", choices=FAMILIES, got=family)
    if not evidence:
        shown = ", ".join(sorted(names)[:5])
        known = ", ".join(each.title for each in FAMILIES.values())
        raise WeightsError(f"{path}: of no known family ({len(names)} tensors: {shown}, ...; known: {known})")
    likeliest = next(iter(evidence))
    if family is not None and family not in evidence:
        raise WeightsError(f"{path}: is not {FAMILIES[family].title}; its names say {FAMILIES[likeliest].title}")
    return family or likeliest


def _check_numbers(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what is not the values of parameters: quantised ones are integers, of which the scale is elsewhere."""
    odd = {name: str(tensor.dtype) for name, tensor in tensors.items() if not tensor.is_floating_point()}
    if odd:
        kinds = ", ".join(sorted({kind.removeprefix("torch.") for kind in odd.values()}))
        raise WeightsError(f"{path}: holds {kinds} where parameters are floating-point numbers: {folded(list(odd))}")


def _check_network(path: Path, tensors: Mapping[str, Tensor], ignored: Mapping[str, str], facts: Facts) -> None:
    """Refuse an encoder that computes what none of ours does: leaving a part of it out would not be it."""
    foreign = [name for name, why in ignored.items() if why == UNKNOWN and re.search(r"\b(blocks|layer)\.\d+\.", name)]
    if foreign:
        raise WeightsError(f"{path}: its blocks have parameters that no network here has: {folded(foreign)}")
    if facts.position_embedding not in (None, *EMBEDDINGS):
        known = ", ".join(EMBEDDINGS)
        raise WeightsError(
            f"{path}: {facts.said_by} says its positions are '{facts.position_embedding}'; known: {known}"
        )
    if facts.activation not in (None, "gelu"):
        raise WeightsError(
            f"{path}: {facts.said_by} says its MLPs use '{facts.activation}'; the networks here use gelu"
        )
    if facts.learned and "pos_embed" not in tensors:
        raise WeightsError(f"{path}: {facts.said_by} says its positions are learned, but it holds no table of them")


def _fuse(path: Path, tensors: dict[str, Tensor], ignored: dict[str, str], facts: Facts) -> None:
    """Bring every form of the projections to ``qkv.weight``, ``q_bias`` and ``v_bias``, in place.

    A bias of the keys adds the same to all scores of one query, which softmax removes: dropping it is exact. A network
    without biases is one whose biases are 0.
    """
    without = facts.qkv_bias is False or not any(re.search(r"attn\..*bias", n) for n in tensors if ".proj." not in n)
    for block in sorted({m.group(1) for name in tensors if (m := re.match(r"(blocks\.\d+\.attn)\.", name))}):
        parts = [tensors.pop(f"{block}.{part}.weight", None) for part in "qkv"]
        found = [part for part in parts if part is not None]
        if len(found) == 3:
            if len({part.shape for part in found}) != 1:
                raise WeightsError(
                    f"{path}: {block}'s projections are {[tuple(part.shape) for part in found]}, not alike"
                )
            tensors[f"{block}.qkv.weight"] = torch.cat(found)
        whole = tensors.pop(f"{block}.qkv.bias", None)
        if whole is not None and (whole.ndim != 1 or len(whole) % 3):
            raise WeightsError(f"{path}: {block}.qkv.bias is {tuple(whole.shape)}, which is not three alike")
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
            elif without and f"{block}.qkv.weight" in tensors:
                weight = tensors[f"{block}.qkv.weight"]
                tensors.setdefault(f"{block}.{part}_bias", weight.new_zeros(weight.shape[-1]))


def _positions(
    path: Path, tensors: dict[str, Tensor], facts: Facts, family: str, has_class_token: bool
) -> tuple[str, Grid | None]:
    """Bring a stored position table to one tensor ``pos_embed``, in place; return the embedding and its grid.

    Args:
        path: for messages.
        tensors: by our names.
        facts: what the file says.
        family: the embedding of its family.
        has_class_token: whether a row of the table may be the class token's.
    """
    grid = facts.grid
    spatial, temporal = (tensors.pop(f"pos_embed_{axis}", None) for axis in ("spatial", "temporal"))
    width = len(tensors["patch_embed.proj.weight"])
    for table in (spatial, temporal, tensors.get("pos_embed")):
        if table is not None and (table.ndim != 3 or len(table) != 1 or table.shape[2] != width or not table.numel()):
            raise WeightsError(f"{path}: a position table of shape {tuple(table.shape)} is none of this encoder's")
    if spatial is not None and temporal is not None:
        tensors["pos_embed"] = separable(spatial, temporal)
        times, places = temporal.shape[1], spatial.shape[1]
        if grid is None or grid[1] * grid[2] != places:
            side = math.isqrt(places)
            if side**2 != places:
                raise WeightsError(f"{path}: a position table of {places} places is of no square frame")
            grid = (times, side, side)
        grid = (times, *grid[1:])
    table = tensors.get("pos_embed")
    if table is None:
        return facts.position_embedding or family, grid
    stored = None if facts.learned else computed(table)
    if (
        has_class_token
        and stored is None
        and table.shape[1] > 1
        and (grid is None or math.prod(grid) != table.shape[1])
    ):
        table = tensors["pos_embed"] = table[:, 1:]  # the class token's row comes first
        stored = None if facts.learned else computed(table)
    grid = (stored[1] if stored else None) or grid
    if grid is not None and math.prod(grid) != table.shape[1]:
        if facts.said_by and grid == facts.grid:
            says = f"{facts.said_by} says {shown(grid)} tokens, its position table has {table.shape[1]}"
            raise WeightsError(f"{path}: {says}")
        grid = None
    return facts.position_embedding or (stored[0] if stored else LEARNED), grid


def shown(grid: Sequence[int]) -> str:
    """Return a grid for a reader: ``8 x 14 x 14``."""
    return " x ".join(map(str, grid))


def resolved_embedding(configured: str, source: Source) -> str:
    """Return the position embedding that a network with these weights has, as far as the file says.

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


def decide_family(source: Source, key: str) -> None:
    """Ask which family a file is of, where its names fit several and the numbers depend on it.

    Args:
        source: the file.
        key: the setting or option that says it.

    Raises:
        ConfigError: the file leaves it open.
    """
    if source.undecided:
        fits = " and ".join(f"{FAMILIES[n].title}'s ({FAMILIES[n].position_embedding})" for n in source.undecided)
        raise ConfigError(
            f"{source.path}: its names are {fits} alike, and their position embeddings differ: say whose it is",
            key=key,
            choices=[source.family, *source.others],
        )
