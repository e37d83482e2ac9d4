"""A trained network back from a trial's folder: for evaluation on any split and views, and for explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from far.architecture.networks import NETWORKS
from far.config.messages import validated
from far.config.trial import TrialConfig
from far.data import open_manifest
from far.data.loader import EvalStream
from far.distributed import World
from far.errors import ConfigError, DamagedError, WeightsError
from far.evaluate.predict import predict, score
from far.gpu import usable
from far.plugins.kept import not_loaded
from far.store.paths import TrialPaths
from far.store.records import read_result, read_spec
from far.train import checkpoint
from far.train.engine import dtype_of, resolve_precision
from far.train.network_only import module_of, read_states

if TYPE_CHECKING:
    from far.data import Manifest
    from far.data.decoding.cache import FrameSource
    from far.data.sources.demo_writer import Progress
    from far.evaluate.frame_order import Arrange
    from far.evaluate.predict import Evaluation, Predictions
    from far.model.interface import VideoNetwork


@dataclass(frozen=True)
class Trained:
    """A trial's network as its last checkpoint has it, in evaluation mode, on the CPU.

    Attributes:
        config: the trial's resolved configuration.
        identity: its scientific identity.
        model: maps clips (B, 3, T, H, W), normalised, to logits (B, classes).
        epochs: epochs behind the checkpoint.
        classes: number of classes.
        precision: in which the trial tested it; None if the trial has no result yet, or one of an earlier version.
    """

    config: TrialConfig
    identity: dict[str, Any]
    model: VideoNetwork
    epochs: int
    classes: int
    precision: str | None = None


def trial_config(directory: Path) -> TrialConfig:
    """Return the configuration that a trial was run with; quick, without its network.

    Raises:
        WeightsError: the folder is not a trial's, or needs a plug-in that is not loaded.
    """
    paths = TrialPaths(directory)
    spec = read_spec(paths)
    config = spec.get("config")
    if not config:
        raise WeightsError(f"{directory} is not a trial's folder: it has no readable {paths.trial.name}")
    if missing := not_loaded(spec.get("plugins")):
        raise WeightsError(
            f"{directory} needs the plug-in '{missing[0]}', which is not loaded: "
            "far.plugins.kept.load_plugins_of(directory) runs the copy that was kept with it"
        )
    return validated(TrialConfig, config, lambda keys: str(paths.trial))


def load_trained(directory: Path) -> Trained:
    """Load the network of a trial.

    Args:
        directory: the trial's folder, with ``trial.json`` and ``checkpoints/``.

    Raises:
        WeightsError: the folder is not a trial's, holds no complete checkpoint, or one that would run code when loaded.
        DamagedError: the checkpoint cannot be loaded.
    """
    config = trial_config(directory)
    paths = TrialPaths(directory)
    found = checkpoint.latest(paths.checkpoints, whole_epochs=True)
    if found is None:
        raise WeightsError(f"{directory} holds no complete checkpoint of a whole epoch")
    state, embedding = _state(found, config.model.embedding)
    classes = config.data.classes
    # `auto` was settled by the family of the initial weights when the trial began; the checkpoint says how.
    settled = config.model.model_dump()
    if "position_embedding" in settled:  # not every network has the setting
        settled["position_embedding"] = embedding
    network = validated(type(config.model), settled, lambda keys: str(found))
    model = NETWORKS[network.network].build(network, classes, seed=config.seed)
    try:
        model.load_state_dict({name: value.float() for name, value in state.items()})
    except (AttributeError, RuntimeError) as error:  # no tensors, or those of another network
        raise DamagedError(f"{found} does not hold the network of {paths.trial.name}: {_brief(error)}") from error
    precision = ((read_result(paths) or {}).get("execution") or {}).get("precision")
    epochs = int(found.name.split("-")[1])
    return Trained(config, read_spec(paths).get("identity") or {}, model.eval(), epochs, classes, precision)


def evaluate_trained(
    trained: Trained,
    *,
    data_root: Path,
    manifest: Manifest | None = None,
    split: str = "val",
    views: tuple[int, int] | None = None,
    arrange: Arrange | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[Predictions, Evaluation, tuple[int, int]]:
    """Test a trained network on the videos of a split, in the precision in which its trial was tested.

    Args:
        trained: the network; it is moved to the GPU where there is one. On a CPU, fp16 becomes fp32.
        data_root: folder of data sets.
        manifest: the data set; default: the trial's own.
        split: ``val``, ``test`` or ``train``; the videos of ``train`` are seen as in a test, without augmentation.
        views: temporal clips and spatial crops; default: the trial's own.
        arrange: changes the order of frames (``far.evaluate.frame_order``).
        progress: called with (views done, views in all).

    Returns:
        Every view's scores, the merged accuracy, and the views that were used.

    Raises:
        ConfigError: there is no such split, or there is a GPU and torch cannot use it.
        DataError: a video of the split has no label.
    """
    manifest = manifest or open_manifest(trained.config.data, data_root)
    predictions, stream = predict_views(trained, manifest, split, views=views, arrange=arrange, progress=progress)
    used = stream.config.data.views
    return predictions, score(predictions, stream.expected), (used.clips, used.crops)


def predict_views(
    trained: Trained,
    manifest: Manifest,
    split: str,
    *,
    views: tuple[int, int] | None = None,
    arrange: Arrange | None = None,
    frames: FrameSource | None = None,
    needs_labels: bool = True,
    progress: Progress = lambda done, total: None,
) -> tuple[Predictions, EvalStream]:
    """Run a trained network over the views of a split's videos; see ``evaluate_trained``.

    Args:
        trained: the network.
        manifest: the videos.
        split: which of them.
        views: temporal clips and spatial crops; default: the trial's own.
        arrange: changes the order of frames.
        frames: where frames come from; default: the fastest way to read the data set.
        needs_labels: whether a video without a label is an error.
        progress: called with (views done, views in all).

    Returns:
        Every view's scores, and the stream, which knows the videos that could not be read (``failures``).
    """
    import torch

    device = torch.device("cuda" if usable() else "cpu")
    precision = trained.precision or trained.config.recipe.precision
    dtype = dtype_of(
        "fp32" if (precision, device.type) == ("fp16", "cpu") else resolve_precision(precision, device.type)
    )
    own = trained.config.data.views
    clips, crops = (own.clips, own.crops) if views is None else _checked_views(views)
    data = trained.config.data.model_copy(update={"views": own.model_copy(update={"clips": clips, "crops": crops})})
    config = trained.config.model_copy(update={"data": data})
    stream = EvalStream(
        manifest,
        config,
        split,
        rank=0,
        world=1,
        micro_batch=16,
        device=device,
        frames=frames,
        needs_labels=needs_labels,
    )
    predictions = predict(
        trained.model.to(device, dtype),
        stream,
        World(0, 1, device),
        dtype=dtype,
        arrange=arrange or (lambda clips, ids: clips),
        on_batch=lambda done: progress(done, stream.expected * clips * crops),
    )
    return predictions, stream


def _state(found: Path, embedding: str) -> tuple[Mapping[str, Any], str]:
    """Return parameters and position embedding of a DeepSpeed checkpoint."""
    saved = read_states(found)
    state = module_of(found, saved)
    embedding = saved.get("position_embedding", embedding)
    return {name.removeprefix("_orig_mod."): value for name, value in state.items()}, embedding


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _checked_views(views: object) -> tuple[int, int]:
    """Return temporal clips and spatial crops.

    Raises:
        ConfigError: they are not two numbers from 1.
    """
    pair = tuple(views) if isinstance(views, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(each, int) and each >= 1 for each in pair):
        raise ConfigError(f"are temporal clips and spatial crops, such as (2, 3), not {views!r}", key="views")
    return pair
