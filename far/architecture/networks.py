"""What a kind of network has to say of itself before it is built; no torch."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from far.architecture.counting import Count
from far.registry import Registry

if TYPE_CHECKING:
    from far.config.trial import InitConfig, ModelConfig
    from far.model.interface import VideoNetwork


class Network(ABC):
    """A kind of network: which settings it has, what it costs, how it is built."""

    absent: ClassVar[Mapping[str, Any]] = {}
    """Settings of the model section that it does not have, each with the one value that may stand there all the same,
    as a profile may name it for every row (None: no value)."""

    def check(self, model: ModelConfig) -> None:  # noqa: B027  (nothing more is the usual case)
        """Check what only this kind of network asks of the model section.

        Raises:
            ConfigError: it is impossible.
        """

    def check_init(self, init: InitConfig) -> None:  # noqa: B027
        """Check that the network can start from these weights.

        Raises:
            ConfigError: it cannot.
        """

    @abstractmethod
    def count(self, model: ModelConfig, classes: int) -> Count:
        """Return FLOPs of one clip and parameters, without building the network."""

    @abstractmethod
    def build(
        self, model: ModelConfig, classes: int, *, seed: int, activation_checkpointing: bool = False
    ) -> VideoNetwork:
        """Build the network with random initial values, fp32 on the CPU.

        Raises:
            ConfigError: a package that it needs is missing.
        """

    @abstractmethod
    def skeleton(self, model: ModelConfig, classes: int) -> VideoNetwork:
        """Build the network without values, on torch's ``meta`` device: names and shapes of its parameters."""


NETWORKS: Registry[Network] = Registry("network")

for _module in ("far", "transformers_networks"):
    importlib.import_module(f"far.architecture.{_module}")
