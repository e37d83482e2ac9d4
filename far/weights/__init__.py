"""Initial weights from the ancestors' checkpoints: recognise the family, translate the names, load, and account."""

from far.weights.build import build_network
from far.weights.coverage import Coverage
from far.weights.source import Source, open_source

__all__ = ["Coverage", "Source", "build_network", "open_source"]
