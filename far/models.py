"""Networks by name, for notebooks and other people's training code: ``far.create_model("far-small", classes=174)``.

A name is a kind of network and a backbone. Trials do not come by here: their networks are described by a study or a
profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.architecture.backbones import BACKBONES
from far.architecture.networks import NETWORKS
from far.config import ModelConfig
from far.config.messages import validated
from far.config.trial import InitConfig
from far.errors import ConfigError, DataError
from far.store.paths import TrialPaths
from far.train import checkpoint

if TYPE_CHECKING:
    from far.architecture.config import HeadLayout
    from far.model.interface import VideoNetwork

PLAIN: Mapping[str, Any] = {"attention": {"global": 1}, "interaction": "none", "classifier": "global-mean"}
"""FAR's settings that make it the plain ViT which VideoMAE and MVD fine-tune."""
CLIP = (16, 224, 224)
"""Frames, height and width in pixels, as in the paper."""


def list_models() -> list[str]:
    """Return the names that ``create_model`` takes; plug-ins add to them."""
    return [f"{kind}-{backbone}" for kind in _kinds() for backbone in BACKBONES]


def model_config(
    name: str,
    *,
    attention: HeadLayout | list[HeadLayout] | None = None,
    heads: int | Mapping[str, int] | None = None,
    interaction: str | None = None,
    classifier: str | None = None,
    frames: int | None = None,
    size: int | Sequence[int] | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the model section that a name and overrides stand for; see ``create_model``. It needs no torch.

    Raises:
        ConfigError: there is no such network, or it cannot be built so.
    """
    kind, _, backbone = str(name).rpartition("-")
    if kind not in _kinds() or backbone not in BACKBONES:
        raise ConfigError(f"unknown model '{name}'", where="create_model", choices=list_models(), got=str(name))
    if isinstance(heads, Mapping):
        if attention is not None:
            raise ConfigError("says the same as attention: give one of them", key="heads", where="create_model")
        attention, heads = dict(heads), None
    tree = {**_kinds()[kind], "backbone": backbone}
    given = {"attention": attention, "heads": heads, "interaction": interaction, "classifier": classifier}
    tree |= {key: value for key, value in given.items() if value is not None}
    if frames is not None or size is not None:
        if "clip" in settings:
            raise ConfigError("says the same as frames and size: give either", key="clip", where="create_model")
        height, width = _sides(size)
        tree["clip"] = [CLIP[0] if frames is None else frames, height, width]
    return validated(ModelConfig, {**tree, **settings}, lambda keys: "create_model")


def create_model(
    name: str,
    *,
    classes: int,
    weights: Path | str | None = None,
    attention: HeadLayout | list[HeadLayout] | None = None,
    heads: int | Mapping[str, int] | None = None,
    interaction: str | None = None,
    classifier: str | None = None,
    frames: int | None = None,
    size: int | Sequence[int] | None = None,
    seed: int = 0,
    family: str | None = None,
    **settings: Any,
) -> VideoNetwork:
    """Build a network with its initial values, in evaluation mode, fp32 on the CPU.

    Args:
        name: ``far-small``, ``far-base``: the paper's networks; ``vit-small``, ``vit-base``: the plain ViT of VideoMAE
            and MVD; ``list_models()`` has all. Other authors' networks need transformers.
        classes: number of classes C.
        weights: a checkpoint of a known family (VideoMAE, MVD, …), one of ours, or a trial's folder; default: random.
        attention: shares of the heads by attention pattern, e.g. ``{"global": 2, "sparse-dense": 1}``, or a list of
            such that is tiled over the blocks.
        heads: number of heads, or the same as ``attention``.
        interaction: the token-group interaction.
        classifier: what the head sees.
        frames: of a clip; default: 16.
        size: height and width of a clip in pixels, one number for a square; default: 224.
        seed: of the random values, which are keyed by it and the parameter's name.
        family: the weights' family, where their names fit several.
        settings: any other setting of ``model`` (docs, Configuration), e.g. ``tubelet=[2, 16, 16]``, ``depth=4``.

    Returns:
        A module that maps normalised clips of shape (B, 3, frames, height, width) to logits (B, C). ``model.config`` is
        its model section; ``model.load_report`` says what of the weights was loaded, None for a random start.

    Raises:
        ConfigError: there is no such network, it cannot be built so, or it does not go with the weights.
        WeightsError: the weights cannot be read, or do not fill what they should.
    """
    config = model_config(
        name, attention=attention, heads=heads, interaction=interaction, classifier=classifier, frames=frames,
        size=size, **settings,
    )  # fmt: skip
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ConfigError(f"must be a number from 1, not {classes!r}", key="classes", where="create_model")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"must be a number from 0, not {seed!r}", key="seed", where="create_model")
    if weights is not None and not (isinstance(weights, (str, Path)) and str(weights)):
        raise ConfigError(f"must be a file or a trial's folder, not {weights!r}", key="weights", where="create_model")
    if weights is not None and not NETWORKS[config.network].starts_from_weights:
        raise ConfigError(f"'{name}' cannot start from a checkpoint", key="weights", where="create_model")

    from far.weights.build import build_network

    file = None if weights is None else str(_checkpoint(Path(weights).expanduser()).absolute())
    model, load_report = build_network(config, InitConfig(weights=file, family=family), classes, seed=seed)
    object.__setattr__(model, "load_report", load_report)
    model.register_forward_pre_hook(_refuse_other_clips)
    return model.eval()


def _refuse_other_clips(model: VideoNetwork, arguments: tuple[Any, ...]) -> None:
    """Refuse what is no batch of normalised clips, before an inner module says so in terms of its own.

    Raises:
        DataError: the shape or the type is another one.
    """
    import torch
    from torch import Tensor

    clips = arguments[0] if arguments else None
    expected = (3, *model.config.clip)
    if clips is None or (
        isinstance(clips, Tensor) and clips.shape[1:] == torch.Size(expected) and clips.is_floating_point()
    ):
        return
    shape = tuple(getattr(clips, "shape", ()))
    given = f"{str(clips.dtype).removeprefix('torch.')} of shape {shape}" if shape else type(clips).__name__
    raise DataError(
        f"clips are a tensor of floating point of shape (B, {', '.join(map(str, expected))}): RGB in [0, 1], minus "
        f"data.mean, over data.std; not {given}"
    )


def _kinds() -> dict[str, Mapping[str, Any]]:
    """Return the kinds of networks by name, each with the settings that it stands for."""
    networks = {name: {"network": name} for name in NETWORKS}
    return {**networks, "vit": PLAIN}


def _sides(size: int | Sequence[int] | None) -> tuple[int, int]:
    sides = [size, size] if isinstance(size, int) else list(size or CLIP[1:])
    if len(sides) != 2:
        raise ConfigError(f"is height and width, not {sides}", key="size", where="create_model")
    return sides[0], sides[1]


def _checkpoint(path: Path) -> Path:
    """Return the checkpoint that a path means: of a trial's folder, the last one."""
    paths = TrialPaths(path)
    found = checkpoint.latest(paths.checkpoints, whole_epochs=True) if paths.trial.is_file() else None
    return found or path
