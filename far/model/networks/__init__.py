"""Kinds of network, one registry: FAR, and other authors' networks as rows beside it. No torch."""

from __future__ import annotations

import importlib

from far.model.networks.base import NETWORKS, Network

__all__ = ["NETWORKS", "Network"]

for _module in ("far_", "baselines"):
    importlib.import_module(f"{__name__}.{_module}")
