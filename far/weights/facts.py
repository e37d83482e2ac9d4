"""Metadata of a weights file: its training's arguments, its configuration.

Every training script leaves another trace: VideoMAE, VideoMAE V2, MVD and mae_st save their command line as an
``argparse.Namespace`` (``args``), Hugging Face writes ``config.json`` next to the file, our checkpoints hold the
settled model section, our converted files carry it in their metadata.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeGuard

from far.architecture.patterns import Grid
from far.architecture.position_embeddings import AUTO, DEFAULT, EMBEDDINGS
from far.errors import WeightsError
from far.store.paths import TrialPaths
from far.store.records import read_spec
from far.weights.families import OURS

Patch = tuple[int, int, int]
"""Frames, height and width of a token in pixels."""


@dataclass(frozen=True)
class Facts:
    """What a file says; None: it does not say.

    Attributes:
        family: whose training script wrote it.
        position_embedding: which table was added (``far.architecture.position_embeddings``).
        learned: whether the table was trained.
        grid: tokens along time, height and width.
        mean_pooling: whether the classifier takes the mean of the tokens; else it takes the first.
        heads: attention heads.
        activation: the MLP's, by transformers' name.
        qkv_bias: whether queries and values have biases.
        said_by: where the other facts stand, for messages.
    """

    family: str | None = None
    position_embedding: str | None = None
    learned: bool | None = None
    grid: Grid | None = None
    mean_pooling: bool | None = None
    heads: int | None = None
    activation: str | None = None
    qkv_bias: bool | None = None
    said_by: str = ""

    def or_else(self, other: Facts) -> Facts:
        """Fill in from ``other`` what this one does not say."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "said_by"}
        missing = {name: getattr(other, name) for name, value in own.items() if value is None}
        said_by = " and ".join(text for text in dict.fromkeys((self.said_by, other.said_by)) if text)
        return replace(self, **missing, said_by=said_by)


def gather(found: Mapping[str, Any], metadata: Mapping[str, str], part: Path, patch: Patch | None) -> Facts:
    """Collect the metadata of one file.

    Args:
        found: a pickled file's other entries; empty for a safetensors file.
        metadata: a safetensors file's; empty for a pickled one.
        part: the file itself; files next to it are looked at.
        patch: the size of a token, from the patch embedding's shape; None: it has none.

    Raises:
        WeightsError: a ``config.json`` next to the file is not one.
    """
    facts = _of_metadata(metadata, part).or_else(_of_checkpoint(found, part))
    if patch is not None:
        args = found.get("args")
        args = vars(args) if isinstance(args, argparse.Namespace) else args
        facts = facts.or_else(_of_arguments(args, patch)) if isinstance(args, Mapping) else facts
        facts = facts.or_else(_of_config(part.with_name("config.json"), patch))
    return facts


def _of_metadata(metadata: Mapping[str, str], path: Path) -> Facts:
    if "farlab" not in metadata:
        return Facts()
    embedding = metadata.get("position_embedding")
    try:
        grid = _grid([int(part) for part in metadata["grid"].split(",")]) if "grid" in metadata else None
    except ValueError:
        raise WeightsError(f"{path}: its metadata's grid '{metadata['grid']}' is not T,H,W") from None
    return _known(embedding, grid, "its metadata")


def _of_checkpoint(found: Mapping[str, Any], part: Path) -> Facts:
    """Of a checkpoint of ours: what it holds, and for those that held less, the trial's description next to it."""
    embedding, model = found.get("position_embedding"), found.get("model_config")
    if model is None and embedding is not None:
        model = _inner(read_spec(TrialPaths(part.parent.parent.parent)).get("config"), "model")
    grid = None
    if isinstance(model, Mapping):
        clip, tubelet = model.get("clip"), model.get("tubelet")
        pixels, token = _grid(clip), _grid(tubelet)
        grid = _grid_of_pixels(pixels[0], pixels[1:], token) if pixels and token else None
    if not isinstance(embedding, str):
        return Facts()
    embedding = DEFAULT if embedding == AUTO else embedding  # that of a random start
    return _known(embedding, grid, "its checkpoint")


def _known(embedding: str | None, grid: Grid | None, said_by: str) -> Facts:
    embedding = None if embedding == AUTO else embedding
    learned = EMBEDDINGS[embedding].is_learned if embedding and embedding in EMBEDDINGS else None
    return Facts(family=OURS, position_embedding=embedding, learned=learned, grid=grid, said_by=said_by)


WROTE = {
    "mvd": ("remove_pos_emb", "image_teacher_model"),
    "videomae-v2": ("with_checkpoint", "head_drop_rate"),
    "st-mae": ("t_patch_size",),
    "videomae": ("fc_drop_rate",),
}
"""By which of its arguments a training script is known; MVD's has VideoMAE's as well, so the order counts."""


def _of_arguments(args: Mapping[str, Any], patch: Patch) -> Facts:
    """Of the command line of an ancestor's training script."""
    family = next((name for name, known in WROTE.items() if any(argument in args for argument in known)), None)
    frames, segments = args.get("num_frames"), args.get("num_segments")
    if _whole(frames) and _whole(segments) and not any(argument in args for argument in WROTE["st-mae"]):
        frames *= segments
    return Facts(
        family=family,
        learned=_flag(args.get("use_learnable_pos_emb")),
        grid=_grid_of_pixels(frames, args.get("input_size"), patch) or _grid(args.get("window_size")),
        mean_pooling=_flag(args.get("use_mean_pooling")),
        said_by="its args",
    )


def _of_config(path: Path, patch: Patch) -> Facts:
    """Of Hugging Face's ``config.json``; VideoMAE V2's has the network's part one level deeper."""
    if not path.is_file():
        return Facts()
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable configuration ({error})") from None
    if not isinstance(config, dict) or "videomae" not in str(config.get("model_type", "")).lower():
        return Facts()
    inner = config.get("model_config")
    config = {**config, **inner} if isinstance(inner, dict) else config
    frames = config.get("num_frames", config.get("all_frames"))
    learned = _flag(config.get("use_learnable_pos_emb", config.get("use_learnable_position_embeddings")))
    return Facts(
        family="videomae-v2" if "v2" in str(config["model_type"]).lower() else "huggingface",
        learned=learned,
        grid=_grid_of_pixels(frames, config.get("image_size", config.get("img_size")), patch),
        mean_pooling=_flag(config.get("use_mean_pooling")),
        heads=heads if _whole(heads := config.get("num_attention_heads", config.get("num_heads"))) else None,
        activation=None if (named := config.get("hidden_act")) is None else str(named),
        qkv_bias=_flag(config.get("qv_bias", config.get("qkv_bias"))),
        said_by="config.json",
    )


def _inner(tree: object, key: str) -> object:
    return tree.get(key) if isinstance(tree, Mapping) else None


def _whole(value: object) -> TypeGuard[int]:
    """Whether it is a positive whole number; True is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _grid_of_pixels(frames: object, size: object, patch: Patch) -> Grid | None:
    sides = list(size) if isinstance(size, list | tuple) else [size, size]
    pixels = [value for value in (frames, *sides) if _whole(value)]
    if len(pixels) != 3:
        return None
    return _grid([whole // token for whole, token in zip(pixels, patch, strict=True)])


def _grid(parts: object) -> Grid | None:
    if not isinstance(parts, list | tuple) or len(parts) != 3 or not all(_whole(part) for part in parts):
        return None
    times, rows, columns = parts
    return times, rows, columns
