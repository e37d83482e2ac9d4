"""FAR: the model, its data, one trial's training and evaluation. Needs neither Ray nor MLflow.

``far.create_model("far-small", classes=174)`` builds a network; ``far.list_models()`` says which there are.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as of `typing`, which takes a while to import
if TYPE_CHECKING:
    from far.models import create_model, list_models, model_config

__version__ = "0.1.0"
__all__ = ["__version__", "create_model", "list_models", "model_config"]


def __getattr__(name: str) -> object:
    """Import on first use: a build reads the version alone, and a wrong study file is answered without torch."""
    if name in __all__:
        from far import models  # noqa: PLC0415  (see above)

        return getattr(models, name)
    raise AttributeError(f"module 'far' has no attribute '{name}'")
