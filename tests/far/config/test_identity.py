"""What is in a trial's identity, and what is not."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from far.config import parse_override, resolve
from far.config.identity import identity, is_counted, spelled_out, trial_key, trial_keys
from far.config.trial import TrialConfig
from far.strict import Added, Strict


def key(*overrides: str, weights: str | None = None, data: str = "d") -> str:
    config: TrialConfig = resolve([parse_override(text) for text in overrides])
    return trial_key(identity(config, data_hash=data, weights_hash=weights))


@pytest.mark.parametrize(
    "override",
    [
        "model.attention={global: 2, sparse-dense: 1}",
        "model.attention={sparse-dense: 1, global: 1}",  # the same shares on other heads
        "model.attention=[{global: 1}, {sparse-dense: 1}]",
        "model.depth=11",
        "model.interaction=none",
        "model.interaction_position=after-mlp",
        "model.classifier=global-mean",
        "model.position_embedding=sincos-3d",
        "model.drop_path=0.2",
        "data.views.clips=2",
        "data.flip=true",
        "data.sampling=dense",
        "recipe.epochs=41",
        "recipe.precision=bf16",
        "recipe.zero_stage=1",
        "recipe.augment.mixup=0.8",
        "recipe.augment.randaug_ops=2",
        "seed=1",
    ],
)
def test_what_changes_a_number_changes_the_key(override: str) -> None:
    assert key(override) != key()


@pytest.mark.parametrize(
    "override",
    [
        "model.backbone=small",
        "model.attention={global: 3, sparse-dense: 3}",
        "model.attention=[{global: 1, sparse-dense: 1}]",
        "model.position_embedding=sinusoid-1d",
        "data.source=elsewhere",
        "data.demo.train_clips=500",  # its content is what counts
        "data.stride=7",  # of dense sampling only
        "recipe.augment.randaug_magnitude=3.0",  # of RandAugment, which is off
        "recipe.augment.mix_group=8",
        "recipe.augment.repeat_frames=shared",  # of one copy
        "run.micro_batch=4",
        "run.devices=2",
        "run.compile=true",
        "data.share=off",
        "data.share_memory=64 MiB",
        "data.cache=0",
        "data.cache_folder=/scratch",
    ],
)
def test_what_changes_no_number_changes_no_key(override: str) -> None:
    assert key(override) == key()


@pytest.mark.parametrize(
    ("setting", "counts"),
    [("run.workers", False), ("data.cache", False), ("data.demo.size", True), ("model.attention.global", True)],
)
def test_it_is_known_which_settings_can_count(setting: str, counts: bool) -> None:
    assert is_counted(setting) is counts


def test_settings_of_what_is_absent_do_not_count() -> None:
    none = "model.interaction=none"
    assert key(none, "model.interaction_position=after-mlp", "recipe.new_module_lr=2.0") == key(none)
    assert key("recipe.new_module_lr=2.0") != key()


@pytest.mark.parametrize("change", [{"weights": "x"}, {"data": "other"}])
def test_contents_count(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_the_micro_batch_counts_where_a_model_has_batch_statistics() -> None:
    norm = "model.interaction=bottleneck-batchnorm"
    assert key(norm, "run.micro_batch=8") != key(norm, "run.micro_batch=4")
    assert key(norm, "run.micro_batch=8") == key(norm, "run.micro_batch=4", "run.devices=2")
    assert key(norm, "run.micro_batch=8", "run.workers=3") == key(norm, "run.micro_batch=8")


def test_the_family_by_which_weights_are_read_counts() -> None:
    assert key("init.family=mvd", weights="w") != key(weights="w")
    assert key("init.family=mvd") == key()


def test_keys_of_many_seeds_are_those_of_each() -> None:
    whole = identity(resolve([]), data_hash="d")
    assert trial_keys(whole, [0, 7, 123]) == [trial_key({**whole, "seed": seed}) for seed in (0, 7, 123)]


class Inner(Strict):
    old: int = 1
    later: Annotated[str | None, Added(None)] = "on"


class Outer(Strict):
    old: int = 1
    inner: Inner = Inner()
    later: Annotated[bool, Added(False)] = False


def test_a_setting_that_came_later_counts_only_where_it_is_not_as_before() -> None:
    as_before = {"old": 1, "inner": {"old": 1}}
    assert Outer(inner=Inner(later=None)).counted() == as_before
    assert Outer().counted() == {**as_before, "inner": {"old": 1, "later": "on"}}
    assert Outer(later=True, inner=Inner(later=None)).counted() == {**as_before, "later": True}
    assert Outer(inner=Inner(later=None)).counted(exclude=["old"]) == {"inner": {"old": 1}}


def test_whether_copies_share_frames_counts_and_earlier_trials_say_that_theirs_did_not() -> None:
    twice = "recipe.augment.repeats=2"
    assert key(twice, "recipe.augment.repeat_frames=own") == key(twice)
    assert key(twice, "recipe.augment.repeat_frames=shared") != key(twice)
    earlier = spelled_out(identity(resolve([parse_override(twice)]), data_hash="d"))
    assert earlier["recipe"]["augment"]["repeat_frames"] == "own"
    assert earlier["model"]["network"] == "far"
