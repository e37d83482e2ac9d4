"""A trained network in a folder of its own: configuration, names of the classes and weights, without a store.

The folder is what MLflow keeps as a model's data; ``_load_pyfunc`` is the name that MLflow calls to load it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from far import __version__
from far.architecture.networks import NETWORKS
from far.config.messages import validated
from far.config.trial import TrialConfig
from far.errors import ConfigError, DamagedError
from far.store.atomic import read_json, write_json
from far.trained.classifier import COLUMNS, Classifier
from far.trained.network import Trained

FACTS, WEIGHTS = "network.json", "network.safetensors"
VIDEO, PROBLEM = "video", "problem"
"""Columns: of the input, paths of video files; of the output, why one could not be read."""


def save_portable(classifier: Classifier, folder: Path) -> None:
    """Write a network with the names of its classes into a folder, which is made."""
    trained = classifier.trained
    config = trained.config.model_dump(mode="json")
    config["model"] = trained.model.config.model_dump(mode="json")  # with what its weights settled
    config["data"]["source"] = Path(config["data"]["source"]).name  # no paths of the machine that trained it
    config["init"] = type(trained.config.init)().model_dump(mode="json")
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "farlab": __version__,
        "config": config,
        "classes": list(classifier.classes) if classifier.knows_names else None,
        "identity": trained.identity,
        "epochs": trained.epochs,
        "precision": trained.precision,
    }
    write_json(folder / FACTS, facts)
    state = {name: value.detach().cpu().contiguous().clone() for name, value in trained.model.state_dict().items()}
    save_file(state, folder / WEIGHTS)


def load_portable(folder: Path) -> Classifier:
    """Load a network that ``save_portable`` wrote.

    Raises:
        DamagedError: the folder does not hold one.
        ConfigError: it is of another version of FARLab, whose settings this one does not know.
    """
    facts: dict[str, Any] | None = read_json(folder / FACTS, dict[str, Any])
    if facts is None or not isinstance(facts.get("config"), dict):
        raise DamagedError(f"{folder} holds no network: it has no readable {FACTS}")
    config = validated(TrialConfig, facts["config"], lambda keys: str(folder / FACTS))
    model = NETWORKS[config.model.network].build(config.model, config.data.classes, seed=config.seed)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise DamagedError(f"{folder / WEIGHTS} does not hold the network of {FACTS}: {why}") from error
    trained = Trained(
        config, facts.get("identity") or {}, model.eval(), int(facts.get("epochs") or 0), config.data.classes,
        facts.get("precision"),
    )  # fmt: skip
    return Classifier(trained, facts.get("classes"))


class VideoModel:
    """A classifier as MLflow calls it.

    Args:
        classifier: the network with the names of its classes.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the likeliest classes of video files.

        Args:
            model_input: a data frame with the paths in the column ``video``, or a list of paths.
            params: ``top``: classes per video, 1 unless it says otherwise.

        Returns:
            ``top`` lines per video, in the order of the input: ``video``, ``rank``, ``label``, ``class``, ``score``
            and ``problem``, which says why a video could not be read; it then has a line without a class.

        Raises:
            ConfigError: the input has no such column, or no line.
        """
        paths = _paths(model_input)
        answers = self.classifier.classify(dict.fromkeys(paths))
        found: dict[str, list[dict[str, Any]]] = {}
        for line in answers.best(int((params or {}).get("top") or 1)):
            found.setdefault(line[VIDEO], []).append({**line, PROBLEM: ""})
        for name, why in answers.unreadable.items():
            found[name] = [{VIDEO: name, "rank": 1, "label": -1, "class": "", "score": math.nan, PROBLEM: why}]
        return pd.DataFrame([line for path in paths for line in found[path]], columns=[*COLUMNS, PROBLEM])


def _paths(model_input: Any) -> list[str]:
    columns = getattr(model_input, "columns", None)
    if columns is None:
        return [str(path) for path in model_input]
    if VIDEO not in columns:
        raise ConfigError(f"the input has no column '{VIDEO}'", choices=[str(column) for column in columns])
    return [str(path) for path in model_input[VIDEO]]


def _load_pyfunc(path: str) -> VideoModel:
    """Load the model; MLflow calls this with the folder that it keeps."""
    return VideoModel(load_portable(Path(path)))
