"""A network with its initial values: random, keyed by the seed, then from a file where one is named."""

from __future__ import annotations

import json
import re
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from far.architecture.backbones import BACKBONES
from far.architecture.networks import NETWORKS
from far.architecture.position_embeddings import AUTO, EMBEDDINGS
from far.config.trial import HEADS, InitConfig, ModelConfig
from far.errors import ConfigError, WeightsError
from far.model.interface import VideoNetwork
from far.model.vit import VideoTransformer
from far.weights.families import FAMILIES, K710, OURS
from far.weights.load_report import LoadReport, folded
from far.weights.positions import PIXELS, guessed, resize
from far.weights.source import (
    CLASS_TOKEN,
    FIRST_TOKEN,
    UNKNOWN,
    Source,
    decide_family,
    open_source,
    resolved_embedding,
    shown,
)


def build_network(
    model: ModelConfig,
    init: InitConfig,
    classes: int,
    *,
    seed: int,
    root: Path = Path(),
    activation_checkpointing: bool = False,
) -> tuple[VideoNetwork, LoadReport | None]:
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
    build = partial(NETWORKS[model.network].build, seed=seed, activation_checkpointing=activation_checkpointing)
    if init.weights is None:
        return build(model, classes), None
    source = opened(init, root)
    net = build(_settled(model, source), classes)
    load_report = load(net, source, head=init.head)
    _ask(model, source)
    return net, load_report


def account(model: ModelConfig, init: InitConfig, classes: int, source: Source) -> LoadReport:
    """Tell what :func:`build_network` would load, without building: names and shapes are looked at, values are not.

    Raises:
        WeightsError, ConfigError: as :func:`build_network` would.
    """
    net = NETWORKS[model.network].build(_settled(model, source), classes, seed=None)
    load_report = load(net, source, head=init.head)
    _ask(model, source)
    return load_report


def opened(init: InitConfig, root: Path = Path()) -> Source:
    """Open the file that a configuration names.

    Raises:
        WeightsError: see :func:`far.weights.source.open_source`.
    """
    assert init.weights is not None
    return open_source(root / Path(init.weights).expanduser(), init.family, init.grid)


def _ask(model: ModelConfig, source: Source) -> None:
    """Ask for the family where the positions follow from it; what is missing from the file was said before."""
    if model.position_embedding == AUTO or _is_learned(model.position_embedding):
        decide_family(source, "init.family")


def _is_learned(embedding: str) -> bool:
    return embedding in EMBEDDINGS and EMBEDDINGS[embedding].is_learned


def _settled(model: ModelConfig, source: Source) -> ModelConfig:
    _check_size(model, source)
    return model.model_copy(update={"position_embedding": resolved_embedding(model.position_embedding, source)})


def _check_size(model: ModelConfig, source: Source) -> None:
    theirs, ours = (source.width, source.depth), model.sizes[:2]
    if theirs != ours:
        fitting = [name for name, size in BACKBONES.items() if (size.width, size.depth) == theirs]
        hint = f"; model.backbone: {fitting[0]} is that" if fitting else ""
        raise WeightsError(
            f"{source.path}: its network is {theirs[0]} wide with {theirs[1]} blocks, the model's is {ours[0]} wide "
            f"with {ours[1]}{hint}"
        )
    if source.patch != tuple(model.tubelet):
        raise WeightsError(
            f"{source.path}: its tokens are of {shown(source.patch)} pixels, the model's of {shown(model.tubelet)}; "
            f"model.tubelet: {list(source.patch)} is that"
        )


def load(net: VideoTransformer, source: Source, *, head: str = HEADS[0]) -> LoadReport:
    """Copy a source's values into a network, in place; into one on ``meta`` nothing is copied.

    Args:
        net: the network.
        source: the file.
        head: ``auto``, the file's head where it fits; or ``random``.

    Raises:
        WeightsError: a parameter that the file should fill is missing from it, or has another shape; or its classifier
            fits and is none that our networks have.
    """
    loaded: list[str] = []
    fresh: dict[str, str] = {}
    wrong: list[str] = []
    notes = _notes(net, source)
    offered = dict(source.tensors)
    if head == HEADS[0]:
        _cut_head(net, offered, notes)
    weight = offered.get("head.weight")
    fits = weight is not None and weight.shape == net.head.weight.shape  # a head is taken whole or not at all
    for name, parameter in net.state_dict(keep_vars=True).items():  # buffers too: running statistics are trained
        value = offered.pop(name, None)
        if name == "pos_embed":
            value = _table(net, source, notes)
        reason = _stays_fresh(name, value, fits, source, head)
        if reason is not None:
            fresh[name] = reason
        elif value is None:
            wrong.append(f"{name} is missing")
        elif value.shape != parameter.shape:
            wrong.append(f"{name} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
        else:
            loaded.append(name)
            if parameter.device.type != "meta":
                if not torch.isfinite(value.float()).all():
                    raise WeightsError(f"{source.path}: {name} holds numbers that are not finite")
                with torch.no_grad():
                    parameter.copy_(value)
    if wrong:
        listed = "; ".join(wrong[:8]) + (f"; and {len(wrong) - 8} more" if wrong[8:] else "")
        raise WeightsError(f"{source.path}: does not fill the network ({FAMILIES[source.family].title}): {listed}")
    if "head.weight" in loaded and not source.mean_pooling:
        raise WeightsError(
            f"{source.path}: {FIRST_TOKEN}, so its logits cannot be had; init.head: random takes its encoder alone"
        )
    if "head.weight" in loaded:
        notes.append(f"its head of {net.head.out_features} classes was loaded: the file is a fine-tuned network")
    elif source.stage == "fine-tuned":
        notes.append(f"the file is a fine-tuned network (a head of {source.classes} classes), not a pre-training")
    ignored = {**source.ignored, **{name: _unused(name, net, source) for name in offered}}
    ignored.update({name: reason for name, reason in fresh.items() if name in source.tensors})
    return LoadReport(source.family, net.config.embedding, source.stage, tuple(loaded), fresh, ignored, tuple(notes))


def _cut_head(net: VideoTransformer, offered: dict[str, Tensor], notes: list[str]) -> None:
    """Cut a head of Kinetics-710 to the classes of Kinetics-400, 600 or 700, as VideoMAE V2's script does."""
    weight, classes = offered.get("head.weight"), net.head.out_features
    if weight is None or weight.shape != (K710, net.head.in_features) or str(classes) not in kinetics_710():
        return
    rows = torch.tensor(kinetics_710()[str(classes)])
    for name in ("head.weight", "head.bias"):
        if name in offered:
            offered[name] = offered[name][rows]
    notes.append(
        f"its head of Kinetics-710 was cut to the {classes} classes of Kinetics-{classes}, in alphabetical order; "
        "init.head: random where the data are other ones"
    )


@cache
def kinetics_710() -> dict[str, list[int]]:
    """Return the rows of a head of Kinetics-710 that are the classes of Kinetics-400, 600 and 700.

    By the number of classes; the classes in alphabetical order. Source: ``misc/label_710to*.json`` of
    OpenGVLab/VideoMAEv2 (29eab1e).
    """
    text = files("far.weights").joinpath("kinetics_710.json").read_text(encoding="utf-8")
    rows: dict[str, list[int]] = json.loads(text)
    return rows


def _stays_fresh(name: str, value: Tensor | None, fits: bool, source: Source, head: str) -> str | None:
    """Return why a parameter keeps its random start, None if the file should fill it.

    Args:
        name: of the parameter.
        value: what the file has for it.
        fits: whether the file's head is of the network's shape.
        source: the file.
        head: see :func:`load`.
    """
    if re.match(r"blocks\.\d+\.interaction\.", name):
        if value is not None:
            return None
        has_one = any(".interaction." in each for each in source.tensors)
        return "the file's interaction has no such part" if has_one else "the file has no interaction"
    if name.startswith("head."):
        if value is None:
            return "the file has no head"
        if head != HEADS[0]:
            return f"init.head: {head}"
        if not fits:
            shape = source.tensors["head.weight"].shape if "head.weight" in source.tensors else value.shape
            return f"the file's head is {tuple(shape)}"
    if name.startswith("fc_norm.") and value is None:
        return "the file's network was never a classifier" if source.mean_pooling else FIRST_TOKEN
    return None


def _unused(name: str, net: VideoTransformer, source: Source) -> str:
    if name == "pos_embed":
        return "the model's positions are computed" if _is_learned(source.position_embedding) else "computed again"
    if ".interaction." in name:
        has_one = any(".interaction." in each for each, _ in net.named_parameters())
        return "the model's interaction has no such part" if has_one else "the model has no interaction"
    return "the model has no such parameter"


def _table(net: VideoTransformer, source: Source, notes: list[str]) -> Tensor:
    """Return the values for a learned table: the file's, resized, or those that its family computes."""
    stored, grid = source.tensors.get("pos_embed"), net.config.grid
    if stored is None:
        compute = EMBEDDINGS[source.position_embedding].table
        if compute is None:
            raise WeightsError(f"{source.path}: holds no position table, and the model's is learned")
        return torch.from_numpy(compute(grid, net.config.sizes[0]))[None]
    trained_on = source.grid
    if trained_on is None:
        tokens = stored.shape[1]
        fitting = guessed(tokens, source.patch, grid)
        if len(fitting) != 1:
            raise ConfigError(
                f"{source.path}: does not say on which grid (time, height, width) its position table of {tokens} "
                f"tokens was trained, and the model's is {shown(grid)}",
                key="init.grid",
                choices=fitting,
            )
        trained_on = fitting[0]
        notes.append(f"its position table of {tokens} tokens does not say its grid; {shown(trained_on)} was taken")
    if trained_on != grid:
        notes.append(f"the position table was resized from {shown(trained_on)} to {shown(grid)} tokens")
    return resize(stored, trained_on, grid)


def _notes(net: VideoTransformer, source: Source) -> list[str]:
    notes = []
    title, facts = FAMILIES[source.family].title, source.facts
    over_the_index = EMBEDDINGS[net.config.embedding].over_the_index
    if source.position_embedding not in (AUTO, net.config.embedding):
        notes.append(f"the positions are {net.config.embedding}; the file was trained with {source.position_embedding}")
    elif over_the_index and source.grid and source.grid[1:] != net.config.grid[1:]:
        notes.append(
            f"trained on {shown(source.grid)} tokens, the model has {shown(net.config.grid)}: a sinusoid over the "
            "flattened index then means other places"
        )
    elif over_the_index and not source.grid and set(net.config.clip[1:]) != {PIXELS}:
        size = " x ".join(map(str, net.config.clip[1:]))
        notes.append(
            f"the file does not say on which frames it was trained: if not on {size} pixels, a sinusoid over the "
            "flattened index means other places"
        )
    if facts.family not in (None, OURS, source.family):
        assert facts.family is not None
        notes.append(f"read as {title}, though {facts.said_by} are those of {FAMILIES[facts.family].title}")
    if facts.heads is not None and facts.heads != net.config.sizes[2]:
        notes.append(f"{facts.said_by} says {facts.heads} attention heads, the model has {net.config.sizes[2]}")
    if CLASS_TOKEN in source.ignored.values():
        notes.append("the file has a class token, to which every token attends; the model has none")
    if not source.mean_pooling:
        notes.append(FIRST_TOKEN)
    if FAMILIES[source.family].note:
        notes.append(FAMILIES[source.family].note)
    unknown = [name for name, reason in source.ignored.items() if reason == UNKNOWN]
    if unknown:
        notes.append(f"names that {title} does not have: {folded(unknown)}")
    return notes
