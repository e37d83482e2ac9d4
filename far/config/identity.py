"""A trial's identity: what makes its numbers what they are, and nothing else.

In it: model, initial weights (content), data (content) and views, recipe, seed. Not in it: paths, output directory,
number of devices and micro-batch, unless the model has batch statistics; nor the version of the code, nor what says how
something is done (``far.strict.Uncounted``).
A setting that came later than the trials in people's stores is marked where it is declared (``far.strict.Added``), and
so is one that only some variants read (``far.strict.ReadBy``): with others it is null.
"""

from __future__ import annotations

import functools
import hashlib
import json
import operator
from collections.abc import Iterable
from typing import Any

from far.config.combinations import unread
from far.config.layers import section_of
from far.config.trial import TrialConfig
from far.strict import Added, Strict, Uncounted

STATISTICS = "statistics_over"
"""The number of videos over which a model with batch statistics has them, in its part of an identity."""
EXECUTION = "run"
"""The section that changes speed and place alone."""
LAST = "seed"
"""The part of an identity that comes last when its parts are sorted."""


def identity(config: TrialConfig, *, data_hash: str, weights_hash: str | None = None) -> dict[str, Any]:
    """Return the canonical form of a trial: two configurations that mean the same give the same.

    Args:
        config: the resolved configuration.
        data_hash: content hash of the data manifest.
        weights_hash: content hash of the initial weights, None for a random start.
    """
    whole: dict[str, Any] = {
        "model": _model(config, weights_hash is not None),
        "data": {**config.data.counted(exclude=["source", "demo"]), "content": data_hash},
        "recipe": _recipe(config),
        # In addition to the content: the family decides how the same bytes are read.
        "init": {**config.init.counted(exclude=["weights"]), "content": weights_hash} if weights_hash else None,
        "seed": config.seed,
    }
    for key in unread(config):
        *sections, name = key.split(".")
        functools.reduce(operator.getitem, sections, whole)[name] = None
    return whole


def _model(config: TrialConfig, from_weights: bool) -> dict[str, Any]:
    model = config.model.identified()
    if config.model.needs_the_batch:
        model[STATISTICS] = config.run.statistics_over
    if "position_embedding" in model and not from_weights:
        model["position_embedding"] = config.model.embedding  # with weights, `auto` is settled by their family
    return model


def _recipe(config: TrialConfig) -> dict[str, Any]:
    """Return the recipe without the settings of what is switched off."""
    recipe = config.recipe.counted()
    augment, chosen = recipe["augment"], config.recipe.augment
    unused = {
        "randaug_": not chosen.randaug_ops,
        "crop_": not chosen.crop,
        "mix_": not chosen.mixes,
        "repeat_": chosen.repeats == 1,
    }
    for prefix, off in unused.items():
        recipe["augment"] = augment = {
            key: value for key, value in augment.items() if not (off and key.startswith(prefix))
        }
    return recipe


def trial_key(identity: dict[str, Any]) -> str:
    """Return the 16 hexadecimal digits that name a trial everywhere."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def trial_keys(identity: dict[str, Any], seeds: Iterable[int]) -> list[str]:
    """Return the keys of trials that differ in nothing but the seed, as thousands do: :func:`trial_key` of each."""
    whole = json.dumps({**identity, LAST: None}, sort_keys=True, separators=(",", ":"))
    common = hashlib.sha256(whole.removesuffix("null}").encode())
    keys = []
    for seed in seeds:
        hashed = common.copy()
        hashed.update(f"{seed}}}".encode())
        keys.append(hashed.hexdigest()[:16])
    return keys


def is_counted(key: str) -> bool:
    """Return whether a setting, by its dotted key, can change a trial's numbers; unknown ones are taken to."""
    schema: type[Strict] | None = TrialConfig
    for name in key.split("."):
        described = schema.fields().get(name) if schema else None
        if schema is None or described is None:
            break
        if name == EXECUTION or any(isinstance(mark, Uncounted) for mark in described.metadata):
            return False
        schema = section_of(schema, name)
    return True


def spelled_out(whole: dict[str, Any]) -> dict[str, Any]:
    """Return an identity with the settings that it leaves out because they are as before they were introduced."""
    filled = dict(whole)
    for name in ("model", "data", "recipe", "init"):
        if whole.get(name):
            filled[name] = _spelled_out(whole[name], section_of(TrialConfig, name))
    return filled


def _spelled_out(section: dict[str, Any], schema: type[Strict] | None) -> dict[str, Any]:
    filled = dict(section)
    schema = schema.of(section) if schema else None
    for name, described in schema.fields().items() if schema else ():
        for mark in described.metadata:
            if isinstance(mark, Added):
                filled.setdefault(name, mark.before)
        if isinstance(filled.get(name), dict) and schema is not None:
            filled[name] = _spelled_out(filled[name], section_of(schema, name))
    return filled
