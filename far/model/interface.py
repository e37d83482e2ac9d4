"""What every network offers to training, evaluation and explanation, once it is built."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from far.config.trial import ModelConfig


class VideoNetwork(nn.Module):
    """A classifier of clips.

    Attributes:
        config: the validated model section it was built from.
        not_decayed: suffixes of parameters without weight decay; biases and one-dimensional ones never have it.
    """

    config: ModelConfig
    not_decayed: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, clips: Tensor, keep: Tensor | None = None) -> Tensor:
        """Map normalised clips (B, 3, frames, height, width) to logits (B, classes), float32 from any type of 16 bits.

        Args:
            clips: of the parameters' type.
            keep: drop path's factors (``far.model.drop_path``); None: keep all.
        """

    @abstractmethod
    def layer_of(self, name: str) -> int:
        """Return a parameter's layer: 0 embedding, i + 1 block i, depth + 1 everything after."""

    def is_new(self, name: str) -> bool:
        """Whether a parameter starts from random values inside pre-trained blocks."""
        return False

    @property
    @abstractmethod
    def last_block(self) -> nn.Module:
        """The last block; tokens are the first thing it is called with."""

    @abstractmethod
    def to_grid(self, tokens: Tensor) -> Tensor:
        """Map the tokens of the last block (B, N, D) to their places (B, D, T, H, W), without a class token."""

    @abstractmethod
    def from_grid(self, volume: Tensor, tokens: Tensor) -> Tensor:
        """Undo :meth:`to_grid`; a class token is taken from the ``tokens`` there were."""
