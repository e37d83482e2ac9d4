"""The model section: which network, and what it may be asked for. Importing it registers the networks."""

from far.architecture import far as _far
from far.architecture import transformers_networks as _others
from far.architecture.far import FarConfig, HeadLayout
from far.architecture.networks import ModelConfig
from far.architecture.position_embeddings import AUTO

__all__ = ["AUTO", "FarConfig", "HeadLayout", "ModelConfig", "_far", "_others"]
