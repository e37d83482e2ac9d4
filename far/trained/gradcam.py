"""Grad-CAM over frames (Selvaraju et al., ICCV 2017; paper, Figures 6 and 7), with captum.

The tokens that enter the last block are the feature volume: they still attend to each other there, so that their
gradients differ from place to place (behind it, the mean over tokens makes all gradients equal).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from far.architecture.sampling import sampler
from far.data.decoding.decoder import decode
from far.data.decoding.scan import confirmed, index_file
from far.data.transforms import geometry

if TYPE_CHECKING:
    from far.config import TrialConfig
    from far.model.interface import VideoNetwork
    from far.trained.network import Trained


@dataclass(frozen=True)
class Clip:
    """A video as a network sees it: ``frames`` (T, H, W, 3) for the eye, ``input`` (1, 3, T, H, W) normalised."""

    frames: NDArray[np.uint8]
    input: Tensor


@dataclass(frozen=True)
class Explanation:
    """A heat map (T, H, W) in [0, 1] for one class, and the softmax of all classes (C,)."""

    heat: NDArray[np.float32]
    target: int
    probabilities: NDArray[np.float32]


def load_clip(path: Path, config: TrialConfig) -> Clip:
    """Read the middle test view of a video as a trial's evaluation does.

    Raises:
        VideoError: the file cannot be read.
    """
    length, height, width = config.model.clip
    index = confirmed(path, index_file(path))
    decoded = decode(path, index, sampler(config.data).view(index.count, length, 0, 1))
    whole = geometry.resize_to_cover(geometry.to_tensor(decoded.frames), (height, width))
    clip = geometry.crop(whole, (height, width))
    frames = clip.permute(1, 2, 3, 0).clamp(0, 255).to(torch.uint8).numpy()
    return Clip(frames, geometry.normalise(clip[None], config.data.mean, config.data.std))


def probabilities(trained: Trained, clip: Clip) -> NDArray[np.float32]:
    """Return the softmax of all classes (C,)."""
    with torch.no_grad():
        logits = trained.model(clip.input.to(next(trained.model.parameters()).device))
    scores: NDArray[np.float32] = logits[0].float().softmax(0).cpu().numpy()
    return scores


def explain(trained: Trained, clip: Clip, target: int | None = None) -> Explanation:
    """Return where a network looks for a class.

    Args:
        trained: the network.
        clip: what it sees.
        target: the class; default: the one it answers.
    """
    model = trained.model
    clips = clip.input.to(next(model.parameters()).device)
    scores = probabilities(trained, clip)
    chosen = int(scores.argmax()) if target is None else target
    with tapped(model) as (network, tap):
        cam: Any = LayerGradCam(network, tap).attribute(clips, target=chosen, relu_attributions=True)
        heat: Any = LayerAttribution.interpolate(cam, clip.frames.shape[:3], interpolate_mode="trilinear")
    values = heat[0, 0].detach().float().cpu().numpy()
    peak = float(values.max())
    return Explanation(values / peak if peak > 0 else values, chosen, scores)


class _Tapped(nn.Module):
    """The network with one more module, ``tap``, through which the feature volume (B, D, T, H, W) passes."""

    def __init__(self, model: VideoNetwork) -> None:
        super().__init__()
        self.model, self.tap = model, nn.Identity()

    def volume(self, block: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Show the tokens (B, N, D) that enter a block to the tap, each at its place."""
        tokens, *rest = arguments
        return (self.model.from_grid(self.tap(self.model.to_grid(tokens)), tokens), *rest)

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(clips)


@contextmanager
def tapped(model: VideoNetwork) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Give the network with its tap before the last block; the network is unchanged afterwards."""
    network = _Tapped(model)
    handle = model.last_block.register_forward_pre_hook(network.volume)
    try:
        yield network, network.tap
    finally:
        handle.remove()
