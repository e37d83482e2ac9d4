"""The space of a search: what Optuna may choose, and the configuration that its choice means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from far.config import TrialConfig, resolve
from far.config.layers import Layer, Source
from orchestrator.study import Study
from orchestrator.study.schema import Parameter, SearchConfig, plain_names

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def propose(trial: BaseTrial, search: SearchConfig, depth: int) -> dict[str, Any]:
    """Let Optuna choose a value for every key of the space; return dotted settings.

    Args:
        trial: the proposal; one that is already decided gives its own values again.
        search: the study's search.
        depth: blocks of the network, for parameters that are chosen for each.
    """
    return {key: _choose(trial, key, parameter, depth) for key, parameter in search.space.items()}


def configuration(study: Study, settings: dict[str, Any]) -> TrialConfig:
    """Return the study's base with a proposal over it.

    Raises:
        ConfigError: the proposal is invalid, e.g. a ratio that does not divide the heads.
    """
    config = resolve([*study.base, Layer(settings, lambda keys: f"search space of '{study.name}'", Source.BASE)])
    return config.model_copy(update={"seed": study.seeds[0]})


def depth_of(study: Study) -> int:
    """Return the number of blocks of the study's base network."""
    return resolve(list(study.base)).model.sizes[1]


def _choose(trial: BaseTrial, key: str, parameter: Parameter, depth: int) -> Any:
    if parameter.choices is not None:
        return _pick(trial, key, parameter.choices)
    if parameter.each_block is not None:
        return [_pick(trial, f"{key}[{block}]", parameter.each_block) for block in range(depth)]
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.integer:
        return trial.suggest_int(
            key, int(parameter.low), int(parameter.high), step=int(parameter.step or 1), log=parameter.log
        )
    return trial.suggest_float(key, parameter.low, parameter.high, step=parameter.step, log=parameter.log)


def _pick(trial: BaseTrial, name: str, values: list[Any]) -> Any:
    """Choose among values of any kind; Optuna's storage takes plain ones only, so others go by their JSON."""
    names = plain_names(values)
    chosen: Any = trial.suggest_categorical(name, names)
    return values[names.index(chosen)]
