"""A network with its initial values: random, keyed by the seed, then from a file where one is named."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from far.config.schema import InitConfig, ModelConfig
from far.errors import WeightsError
from far.model.backbones import BACKBONES
from far.model.module import VideoNetwork
from far.model.networks import NETWORKS
from far.model.position import EMBEDDINGS
from far.model.vit import VideoTransformer, build
from far.weights.coverage import Coverage, folded
from far.weights.families import FAMILIES
from far.weights.positions import resize
from far.weights.source import Source, open_source, resolved_embedding


def build_network(
    model: ModelConfig,
    init: InitConfig,
    classes: int,
    *,
    seed: int,
    root: Path = Path(),
    activation_checkpointing: bool = False,
) -> tuple[VideoNetwork, Coverage | None]:
    """Build the network and load its initial weights.

    Args:
        model: the validated model section; an ``auto`` position embedding becomes that of the weights' family.
        init: which weights; none: a random start.
        classes: number of classes.
        seed: the trial's seed, which keys what stays random.
        root: where a relative ``init.weights`` is looked for.
        activation_checkpointing: see :class:`far.model.vit.VideoTransformer`.

    Returns:
        The network, fp32 on the CPU, and the account of the loading (None for a random start).

    Raises:
        WeightsError: the file cannot be read, or does not fill what it should.
        ConfigError: the configuration does not go with the file.
    """
    if init.weights is None:
        network = NETWORKS[model.network]
        return network.build(model, classes, seed=seed, activation_checkpointing=activation_checkpointing), None
    source = open_source(root / Path(init.weights).expanduser(), init.family)
    _check_size(model, source)
    settled = model.model_copy(update={"position_embedding": resolved_embedding(model.position_embedding, source)})
    net = build(settled, classes, seed=seed, activation_checkpointing=activation_checkpointing)
    return net, load(net, source)


def _check_size(model: ModelConfig, source: Source) -> None:
    theirs, ours = (source.width, source.depth), model.sizes[:2]
    if theirs != ours:
        fitting = [name for name, size in BACKBONES.items() if (size.width, size.depth) == theirs]
        hint = f"; model.backbone: {fitting[0]} is that" if fitting else ""
        raise WeightsError(
            f"{source.path}: its network is {theirs[0]} wide with {theirs[1]} blocks, the model's is {ours[0]} wide "
            f"with {ours[1]}{hint}"
        )


def load(net: VideoTransformer, source: Source) -> Coverage:
    """Copy a source's values into a network, in place.

    Raises:
        WeightsError: a parameter that the file should fill is missing from it, or has another shape.
    """
    loaded: list[str] = []
    fresh: dict[str, str] = {}
    wrong: list[str] = []
    offered = dict(source.tensors)
    for name, parameter in net.named_parameters():
        value = offered.pop(name, None)
        if name == "pos_embed":
            value = _table(net, source)
        reason = _stays_fresh(name, value, parameter)
        if reason is not None:
            fresh[name] = reason
        elif value is None:
            wrong.append(f"{name} is missing")
        elif value.shape != parameter.shape:
            wrong.append(f"{name} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
        else:
            loaded.append(name)
            with torch.no_grad():
                parameter.copy_(value)
    if wrong:
        shown = "; ".join(wrong[:8]) + (f"; and {len(wrong) - 8} more" if wrong[8:] else "")
        raise WeightsError(f"{source.path}: does not fill the network ({FAMILIES[source.family].title}): {shown}")
    ignored = {**source.ignored, **{name: _unused(name) for name in offered}}
    ignored.update({name: reason for name, reason in fresh.items() if name in source.tensors})
    return Coverage(source.family, tuple(loaded), fresh, ignored, tuple(_notes(net, source)))


def _stays_fresh(name: str, value: Tensor | None, parameter: Tensor) -> str | None:
    """Return why a parameter keeps its random start, None if the file should fill it."""
    if re.match(r"blocks\.\d+\.interaction\.", name):
        return "the file has no interaction" if value is None else None
    if name.startswith("head."):
        if value is None:
            return "the file has no head"
        return None if value.shape == parameter.shape else f"the file's head is {tuple(value.shape)}"
    if name.startswith("fc_norm.") and value is None:
        return "the file's network was never a classifier"
    return None


def _unused(name: str) -> str:
    if name == "pos_embed":
        return "the table is computed"
    return "the model has no interaction" if ".interaction." in name else "the model has no such parameter"


def _table(net: VideoTransformer, source: Source) -> Tensor:
    """Return the values for a learned table: the file's, resized, or those that its family computes."""
    stored, grid = source.tensors.get("pos_embed"), net.config.grid
    if stored is not None and source.grid is not None:
        return resize(stored, source.grid, grid)
    compute = EMBEDDINGS[source.position_embedding]
    if compute is None:
        raise WeightsError(f"{source.path}: holds no position table, and the model's is learned")
    return torch.from_numpy(compute(grid, net.config.sizes[0]))[None]


def _notes(net: VideoTransformer, source: Source) -> list[str]:
    notes = []
    title = FAMILIES[source.family].title
    if source.position_embedding not in ("auto", net.config.embedding):
        notes.append(f"the positions are {net.config.embedding}; {title} was trained with {source.position_embedding}")
    if "pos_embed" in source.tensors and net.config.embedding == "learned" and source.grid != net.config.grid:
        notes.append(f"the position table was resized from {source.grid} to {net.config.grid}")
    others = [FAMILIES[name].title for name in source.others]
    differing = [n for n in source.others if FAMILIES[n].position_embedding != source.position_embedding]
    if differing:
        notes.append(
            f"read as {title}; {' and '.join(others)} files name their parameters alike (say init.family if it is one)"
        )
    unknown = [name for name, reason in source.ignored.items() if reason == "not known to the family"]
    if unknown:
        notes.append(f"names that {title} does not have: {folded(unknown)}")
    return notes
