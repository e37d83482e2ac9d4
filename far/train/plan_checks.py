"""What a trial finds when it begins, held against what its plan, and so its key, says."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from far.architecture.config import AUTO
from far.config.identity import STATISTICS
from far.config.trial import ModelConfig, TrialConfig
from far.data import Manifest
from far.distributed import World
from far.errors import ConfigError, DataError, WeightsError
from far.train.checkpoint import latest, refuse_unfinished
from far.weights.files import open_file
from far.weights.paths import content_hash


def check_inputs(
    config: TrialConfig, identity: dict[str, Any], manifest: Manifest, weights_root: Path, world: World
) -> None:
    """Refuse data or weights that are not those of the trial's key: another node's copy, a file replaced since.

    Raises:
        DataError: the data have another content.
        WeightsError: the weights file has.
    """
    planned = identity.get("data", {}).get("content")
    if planned is not None and planned != manifest.content_hash:
        raise DataError(
            f"the data set here has the content {manifest.content_hash[:12]}, not the planned {planned[:12]}; "
            "it was prepared again since the sweep began, or this machine has another copy"
        )
    weights, planned = config.init.weights, (identity.get("init") or {}).get("content")
    if weights is not None and planned is not None and world.is_main:
        path = weights_root / Path(weights).expanduser()
        if content_hash(path) != planned:
            raise WeightsError(f"{path} is not the file of the plan; it was replaced since the sweep began")


def check_statistics(identity: dict[str, Any], micro: int, world: World) -> None:
    """Refuse another micro-batch, or number of processes, than the key's where the numbers depend on them.

    Raises:
        ConfigError: this is such a trial.
    """
    planned, here = identity.get("model", {}).get(STATISTICS), micro * world.size
    if planned is not None and planned != here:
        raise ConfigError(
            f"the network's batch statistics would be over {here} videos "
            f"({micro} on each of {world.size} devices), and those of this trial are over {planned}",
            key="run.micro_batch",
        )


def as_begun(config: TrialConfig, checkpoints: Path) -> ModelConfig:
    """Return the model section; what was settled when the trial began, by whatever version, stays so.

    Raises:
        DamagedError: its checkpoint has no optimiser's state, and there are epochs left to train.
    """
    model, found = config.model, latest(checkpoints)
    refuse_unfinished(found, config.recipe.epochs)
    if found is None or config.init.weights is None or model.position_embedding != AUTO:
        return model
    with contextlib.suppress(WeightsError):  # what is damaged is dealt with when it is loaded
        settled = open_file(found).facts.position_embedding
        return model.model_copy(update={"position_embedding": settled or AUTO})
    return model
