"""Configuration of one trial: strict schema, YAML that remembers its lines, dotted overrides. No torch."""

from far.config.document import Document, load_document
from far.config.layers import parse_override, parse_overrides, resolve
from far.config.trial import DataConfig, InitConfig, ModelConfig, RecipeConfig, RunConfig, TrialConfig

__all__ = [
    "DataConfig",
    "Document",
    "InitConfig",
    "ModelConfig",
    "RecipeConfig",
    "RunConfig",
    "TrialConfig",
    "load_document",
    "parse_override",
    "parse_overrides",
    "resolve",
]
