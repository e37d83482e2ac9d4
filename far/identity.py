"""A trial's identity: what makes its numbers what they are, and nothing else.

In it: model, initial weights (content), data (content) and views, recipe, seed. Not in it: paths, number of devices,
micro-batch, output directory. The version of the code is recorded beside it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from far.config.schema import TrialConfig


def identity(config: TrialConfig, *, data_hash: str, weights_hash: str | None = None) -> dict[str, Any]:
    """Return the canonical form of a trial: two configurations that mean the same give the same.

    Args:
        config: the resolved configuration.
        data_hash: content hash of the data manifest.
        weights_hash: content hash of the initial weights, None for a random start.
    """
    model = config.model.model_dump(mode="json")
    del model["backbone"]  # only a name for the sizes, which stand resolved beside it
    model["attention"] = config.model.layouts
    if config.model.interaction == "none":
        model["interaction_position"] = None
    data = config.data.model_dump(mode="json", exclude={"source", "demo"})
    return {
        "model": model,
        "data": {**data, "content": data_hash},
        "recipe": config.recipe.model_dump(mode="json"),
        "init": weights_hash,
        "seed": config.seed,
    }


def trial_key(identity: dict[str, Any]) -> str:
    """Return the 16 hexadecimal digits that name a trial everywhere."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
