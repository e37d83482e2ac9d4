"""Settings that are valid alone but not together, and settings that have no effect given others.

Checked for what a user writes, not for a stored trial's configuration: earlier trials stay readable.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from far.config.trial import TrialConfig
from far.strict import ReadBy, Strict


@dataclass(frozen=True)
class Conflict:
    """What is wrong with the values of some settings, named by their dotted keys."""

    keys: tuple[str, ...]
    message: str
    of_execution: bool = False
    """Whether it only keeps a trial from running as a profile would: one that ran otherwise can still be read."""


def conflicts(config: TrialConfig) -> Iterator[Conflict]:
    """Yield what makes no sense in a configuration whose settings are each valid."""
    yield from _schedule(config)
    yield from _batch(config)
    model = config.model
    attention = getattr(model, "attention", None)
    if isinstance(attention, list) and len(attention) > model.sizes[1]:
        unused = len(attention) - model.sizes[1]
        yield Conflict(("model.attention", "model.depth"), f"the last {unused} layouts would have no block")
    yield from _statistics(config)
    if model.drop_path == 1:
        yield Conflict(("model.drop_path",), "a rate of 1 always drops the last block")


def _schedule(config: TrialConfig) -> Iterator[Conflict]:
    recipe = config.recipe
    if recipe.warmup_epochs > recipe.epochs:
        yield Conflict(
            ("recipe.warmup_epochs", "recipe.epochs"), "training ends in the warm-up and never reaches its rate"
        )
    if recipe.min_lr > recipe.lr:
        yield Conflict(("recipe.min_lr", "recipe.lr"), "the rate would rise to where the cosine ends")
    if recipe.label_smoothing == 1:
        yield Conflict(("recipe.label_smoothing",), "with the whole target spread over all classes nothing is learned")


def _batch(config: TrialConfig) -> Iterator[Conflict]:
    recipe, augment, run = config.recipe, config.recipe.augment, config.run
    if augment.mixes and recipe.batch_size == 1:
        mixing = [f"recipe.augment.{name}" for name in ("mixup", "cutmix") if getattr(augment, name)]
        yield Conflict((*mixing, "recipe.batch_size"), "a batch of one has no second video to mix with")
    elif augment.mixes and augment.mix_group > recipe.batch_size + recipe.batch_size % 2:
        yield Conflict(("recipe.augment.mix_group", "recipe.batch_size"), "a group is a part of the batch")
    if augment.crop and augment.crop_scale[1] > 1:
        yield Conflict(("recipe.augment.crop_scale",), "a crop is at most the whole frame: 1.0")
    if run.micro_batch is not None and recipe.batch_size % run.micro_batch:
        keys = "run.micro_batch", "recipe.batch_size"
        yield Conflict(keys, "a batch is a whole number of micro-batches", of_execution=True)
    elif recipe.batch_size % run.devices:
        keys = "run.devices", "recipe.batch_size"
        yield Conflict(keys, "every device takes as many videos of a batch", of_execution=True)
    elif run.micro_batch is not None and recipe.batch_size // run.devices % run.micro_batch:
        yield Conflict(
            ("run.micro_batch", "run.devices", "recipe.batch_size"),
            "a device's share of a batch is a whole number of micro-batches",
            of_execution=True,
        )


def _statistics(config: TrialConfig) -> Iterator[Conflict]:
    """A network with batch statistics has other numbers with another micro-batch."""
    if not config.model.needs_the_batch:
        return
    if config.run.micro_batch is None:
        yield Conflict(
            ("model.interaction", "run.micro_batch"),
            "its BatchNorm's statistics are those of a micro-batch, whose size must be given",
        )
    if config.run.activation_checkpointing:
        yield Conflict(
            ("run.activation_checkpointing", "model.interaction"),
            "recomputing a BatchNorm would count each batch twice in its running statistics",
        )


def without_effect(config: TrialConfig) -> dict[str, str]:
    """Return the settings that have no effect given the rest of a configuration, each with the reason."""
    found = unread(config)

    def unused(reason: str, *keys: str) -> None:
        for key in keys:
            found.setdefault(key, reason)

    model, data, augment = config.model, config.data, config.recipe.augment
    if model.sizes[1] == 1:
        unused("model.depth is 1, and the first block is never dropped", "model.drop_path")
    if data.source != "demo":
        unused(f"data.source is {data.source}", *(f"data.demo.{name}" for name in type(data.demo).model_fields))
    if data.source == "demo" and model.clip[1] == model.clip[2]:
        unused("the demo's frames are as square as model.clip, so that all crops are the same", "data.views.crops")
    if not augment.randaug_ops:
        others = ("randaug_magnitude", "randaug_std", "randaug_resampling")
        unused("recipe.augment.randaug_ops is 0", *_augment("randaug_probability", *others))
    elif not augment.randaug_probability:
        others = ("randaug_magnitude", "randaug_std", "randaug_resampling")
        unused("recipe.augment.randaug_probability is 0", *_augment("randaug_ops", *others))
    if not augment.crop:
        unused("recipe.augment.crop is false", *_augment("crop_scale", "crop_ratio"))
    if not augment.mixup and not augment.cutmix:
        both = "recipe.augment.mixup and recipe.augment.cutmix are 0"
        unused(both, *_augment("mix_probability", "mix_switch", "mix_group"))
    elif not augment.mix_probability:
        unused("recipe.augment.mix_probability is 0", *_augment("mixup", "cutmix", "mix_switch", "mix_group"))
    elif not augment.mixup or not augment.cutmix:
        off = "mixup" if not augment.mixup else "cutmix"
        unused(f"recipe.augment.{off} is 0, so there is nothing to switch between", *_augment("mix_switch"))
    elif augment.mix_switch in (0, 1):
        off = "cutmix" if augment.mix_switch == 0 else "mixup"
        unused(
            f"recipe.augment.mix_switch is {augment.mix_switch:g}, so that the other is always drawn", *_augment(off)
        )
    if augment.repeats == 1:
        unused("recipe.augment.repeats is 1", *_augment("repeat_frames"))
    if config.recipe.warmup_epochs == config.recipe.epochs:
        unused("recipe.warmup_epochs is all of recipe.epochs, so that no cosine follows", "recipe.min_lr")
    if config.init.weights is None:
        unused("init.weights is not set", *(f"init.{name}" for name in type(config.init).model_fields))
    return found


def unread(config: TrialConfig) -> dict[str, str]:
    """Return the settings that the chosen variants do not read, by dotted key, each with the reason."""
    return dict(_unread(config, config, ()))


def _unread(config: TrialConfig, section: Strict, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name, described in type(section).fields().items():
        key = ".".join((*path, name))
        for axis in (mark.registry for mark in described.metadata if isinstance(mark, ReadBy)):
            where, _, setting = axis.key.rpartition(".")
            chosen = getattr(functools.reduce(getattr, where.split("."), config), setting, None)
            if chosen is None:
                yield key, f"model.network is {config.model.network}, which has no {setting}"
            elif key not in axis.reads(chosen):
                readers = ", ".join(other for other in axis if key in axis.reads(other))
                yield key, f"{axis.key} is {chosen}; what reads it is {readers}"
        if isinstance(value := getattr(section, name), Strict):
            yield from _unread(config, value, (*path, name))


def _augment(*names: str) -> list[str]:
    return [f"recipe.augment.{name}" for name in names]
