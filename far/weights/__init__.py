"""Initial weights from the ancestors' checkpoints: recognise the family, translate the names, load, and account."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from far.weights.build import account, build_network, opened
    from far.weights.load_report import LoadReport
    from far.weights.source import Source, open_source

__all__ = ["LoadReport", "Source", "account", "build_network", "open_source", "opened"]

_WHERE = {
    "account": "build",
    "build_network": "build",
    "LoadReport": "load_report",
    "Source": "source",
    "open_source": "source",
    "opened": "build",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: most of it needs torch."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
