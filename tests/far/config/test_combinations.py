"""Settings that make no sense together, and settings that are typed in vain."""

from __future__ import annotations

from typing import Any

import pytest

from far.config import parse_override, parse_overrides, resolve
from far.config.combinations import without_effect
from far.config.identity import identity
from far.config.layers import Layer, Source, refuse_without_effect, resolved
from far.config.trial import TrialConfig
from far.errors import ConfigError


def layer(source: Source, **settings: Any) -> Layer:
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    return Layer(dotted, lambda _: source.name.lower(), source)


def typed(*overrides: str) -> TrialConfig:
    layers = parse_overrides(overrides)
    config = resolve(layers)
    refuse_without_effect([(config, layers)])
    return config


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["recipe.epochs=2", "recipe.warmup_epochs=5"], ["recipe.warmup_epochs", "recipe.epochs = 2"]),
        (["recipe.warmup_epochs=5", "recipe.epochs=2"], ["recipe.epochs", "recipe.warmup_epochs = 5"]),
        (["recipe.warmup_epochs=1e9"], ["recipe.warmup_epochs", "recipe.epochs = 40"]),
        (["recipe.lr=1e-7"], ["recipe.lr", "recipe.min_lr = 1e-06"]),
        (["recipe.min_lr=0.1"], ["recipe.min_lr", "recipe.lr = 0.001"]),
        (["recipe.batch_size=1", "recipe.augment.mixup=0.8"], ["recipe.augment.mixup", "recipe.batch_size = 1"]),
        (["recipe.augment.cutmix=0.8", "recipe.batch_size=1"], ["recipe.batch_size", "recipe.augment.cutmix = 0.8"]),
        (
            ["recipe.batch_size=8", "recipe.augment.mixup=1.0", "recipe.augment.mix_group=16"],
            ["recipe.augment.mix_group", "recipe.batch_size = 8"],
        ),
        (["recipe.batch_size=8", "run.micro_batch=3"], ["run.micro_batch", "recipe.batch_size = 8"]),
        (["recipe.batch_size=8", "run.devices=3"], ["run.devices", "recipe.batch_size = 8"]),
        (
            ["recipe.batch_size=8", "run.micro_batch=8", "run.devices=2"],
            ["run.devices", "run.micro_batch = 8", "recipe.batch_size = 8"],
        ),
        (["run.micro_batch=1000"], ["run.micro_batch", "recipe.batch_size = 384"]),
        (["model.depth=1", "model.attention=[{global: 1}, {temporal: 1}]"], ["model.attention", "model.depth = 1"]),
        (["recipe.augment.crop=true", "recipe.augment.crop_scale=[0.5, 2.0]"], ["recipe.augment.crop_scale"]),
        (["recipe.label_smoothing=1.0"], ["recipe.label_smoothing"]),
        (["model.interaction=bottleneck-batchnorm"], ["model.interaction", "run.micro_batch"]),
        (
            ["run.micro_batch=8", "model.interaction=bottleneck-batchnorm", "run.activation_checkpointing=true"],
            ["run.activation_checkpointing", "model.interaction = bottleneck-batchnorm"],
        ),
        (["model.drop_path=1.0"], ["model.drop_path"]),
    ],
    ids=lambda each: each[0],
)
def test_what_makes_no_sense_together_is_refused_with_all_keys_named(overrides: list[str], keys: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve(parse_overrides(overrides))
    assert str(refused.value).startswith(f"command line: {keys[0]}: ")
    assert all(key in str(refused.value) for key in keys)


def test_the_place_is_that_of_what_was_set_last() -> None:
    with pytest.raises(ConfigError, match=r"^base: recipe\.warmup_epochs: .* recipe\.epochs = 3 \(profile\)"):
        resolve([layer(Source.PROFILE, recipe__epochs=3), layer(Source.BASE, recipe__warmup_epochs=7.0)])


def test_how_a_profile_runs_trials_keeps_nobody_from_reading_theirs() -> None:
    """They may have run with another micro-batch, which is no part of them; whoever sets one hears that it is wrong."""
    batch = layer(Source.TYPED, recipe__batch_size=90)
    assert resolve([layer(Source.PROFILE, run__micro_batch=16), batch]).recipe.batch_size == 90
    for source in (Source.BASE, Source.TYPED):
        with pytest.raises(ConfigError, match=r"recipe\.batch_size: 90 with run\.micro_batch = 16"):
            resolve([layer(source, run__micro_batch=16), batch])


def test_what_follows_from_a_setting_is_refused_at_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^typed: model\.heads: width 100 is not a multiple of 6"):
        resolve([layer(Source.PROFILE, model__backbone="tiny"), layer(Source.TYPED, model__width=100)])


@pytest.mark.parametrize("source", [Source.BASE, Source.TYPED])
def test_a_profiles_warm_up_is_scaled_to_a_shorter_training(source: Source) -> None:
    profile = layer(Source.PROFILE, recipe__epochs=40, recipe__warmup_epochs=5.0)
    made = resolved([profile, layer(source, recipe__epochs=3)])
    assert made.config.recipe.warmup_epochs == 0.375
    (note,) = made.notes
    assert "recipe.warmup_epochs = 0.375" in note and "5 of 40" in note and "recipe.epochs = 3" in note


def test_a_warm_up_that_fits_or_that_somebody_set_is_left_alone() -> None:
    profile = layer(Source.PROFILE, recipe__epochs=40, recipe__warmup_epochs=5.0)
    for epochs in (5, 6, 100):  # so that what was trained so keeps its key
        made = resolved([profile, layer(Source.TYPED, recipe__epochs=epochs)])
        assert made.config.recipe.warmup_epochs == 5
        assert [note.split(":")[0] for note in made.notes] == (
            ["recipe.warmup_epochs = 5 is all of recipe.epochs = 5"] if epochs == 5 else []
        )
    made = resolved([profile, layer(Source.BASE, recipe__warmup_epochs=1.0), layer(Source.TYPED, recipe__epochs=3)])
    assert (made.config.recipe.warmup_epochs, made.notes) == (1, ())
    with pytest.raises(ConfigError, match=r"recipe\.warmup_epochs = 2"):
        resolved([profile, layer(Source.BASE, recipe__warmup_epochs=2.0), layer(Source.TYPED, recipe__epochs=1)])
    with pytest.raises(ConfigError, match=r"profile: recipe\.warmup_epochs"):  # a profile that never made sense
        resolve([layer(Source.PROFILE, recipe__epochs=2, recipe__warmup_epochs=5.0)])


def test_stored_configurations_are_not_asked() -> None:
    """A trial of an earlier version stays readable, whatever is refused by now."""
    config = TrialConfig.model_validate({"recipe": {"epochs": 2, "warmup_epochs": 5, "batch_size": 1}})
    assert config.recipe.warmup_epochs == 5
    stored = config.model_dump(mode="json")
    record = Layer(stored, lambda _: "trial.json", Source.RECORD)
    assert resolved([record]).config == config
    with pytest.raises(ConfigError, match=r"recipe\.epochs: 3 with recipe\.warmup_epochs = 5"):
        resolved([record, parse_override("recipe.epochs=3")])


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        (["data.stride=2"], "data.stride", "data.sampling is segments-mvd"),
        (["model.interaction=none", "recipe.new_module_lr=2.0"], "recipe.new_module_lr", "model.interaction is none"),
        (
            ["model.interaction=none", "model.interaction_position=after-mlp"],
            "model.interaction_position",
            "model.interaction is none",
        ),
        (["model.network=vivit", "recipe.new_module_lr=2.0"], "recipe.new_module_lr", "model.network is vivit"),
        (["model.depth=1", "model.drop_path=0.1"], "model.drop_path", "model.depth is 1"),
        (["recipe.augment.randaug_magnitude=7.0"], "recipe.augment.randaug_magnitude", "randaug_ops is 0"),
        (
            ["recipe.augment={randaug_ops: 2, randaug_probability: 0.0}"],
            "recipe.augment.randaug_ops",
            "probability is 0",
        ),
        (["recipe.augment={crop_scale: [0.5, 1.0]}"], "recipe.augment.crop_scale", "crop is false"),
        (["recipe.augment.mix_group=4"], "recipe.augment.mix_group", "mixup and recipe.augment.cutmix are 0"),
        (["recipe.augment={mixup: 0.8, mix_switch: 0.3}"], "recipe.augment.mix_switch", "cutmix is 0"),
        (["recipe.augment={mixup: 0.8, mix_probability: 0.0}"], "recipe.augment.mixup", "mix_probability is 0"),
        (["recipe.augment.repeat_frames=shared"], "recipe.augment.repeat_frames", "repeats is 1"),
        (["data.views.crops=3"], "data.views.crops", "square"),
        (["data.source=ssv2", "data.demo.noise=0.2"], "data.demo.noise", "data.source is ssv2"),
        (["recipe.augment={mixup: 0.8, cutmix: 1.0, mix_switch: 0.0}"], "recipe.augment.cutmix", "mix_switch is 0"),
        (["recipe.augment={mixup: 0.8, cutmix: 1.0, mix_switch: 1.0}"], "recipe.augment.mixup", "mix_switch is 1"),
        (["recipe.epochs=5", "recipe.min_lr=0.0"], "recipe.min_lr", "warmup_epochs is all of recipe.epochs"),
        (["init.family=mvd"], "init.family", "init.weights is not set"),
        (["init.head=random"], "init.head", "init.weights is not set"),
        (["init.grid=[8, 14, 14]"], "init.grid", "init.weights is not set"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_typed_in_vain_is_refused_with_the_reason(overrides: list[str], key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        typed(*overrides)
    assert str(refused.value).startswith(f"command line: {key}: has no effect: ")
    assert reason in str(refused.value)


def test_what_a_profile_or_a_base_says_may_have_no_effect() -> None:
    for source in (Source.PROFILE, Source.BASE):
        layers = [layer(source, data__stride=2, recipe__new_module_lr=2.0, model__interaction="none")]
        refuse_without_effect([(resolve(layers), layers)])


def test_what_has_an_effect_in_one_trial_of_several_is_not_in_vain() -> None:
    over = parse_override("recipe.new_module_lr=2.0")
    rows = [[parse_override(f"model.interaction={name}"), over] for name in ("none", "bottleneck")]
    refuse_without_effect([(resolve(row), row) for row in rows])
    with pytest.raises(ConfigError, match="new_module_lr: has no effect"):
        refuse_without_effect([(resolve(row), row) for row in rows[:1]])


BASES = [
    {},
    {"model.interaction": "none", "data.sampling": "dense"},
    {"recipe.augment.crop": True, "recipe.augment.randaug_ops": 2, "recipe.augment.mixup": 0.8},
    {"recipe.augment.repeats": 2, "recipe.augment.cutmix": 1.0, "data.source": "k400", "data.classes": 400},
]


def identified(config: TrialConfig) -> dict[str, Any]:
    """The identity; the content of the demo data set follows from its settings."""
    content = config.data.demo.model_dump_json() if config.data.source == "demo" else config.data.source
    return identity(config, data_hash=content)


@pytest.mark.parametrize("base", BASES, ids=str)
def test_a_setting_that_leaves_the_key_as_it_was_is_known_to_have_no_effect(base: dict[str, Any]) -> None:
    """What the identity leaves out given other settings is refused when typed."""
    config = resolve([Layer(base, lambda _: "")])
    before, idle = identified(config), without_effect(config)
    seen = 0
    for section in ("recipe", "recipe.augment", "data", "data.views", "data.demo"):
        node: Any = config
        for part in section.split("."):
            node = getattr(node, part)
        for name, value in node:
            other = {bool: lambda v: not v, int: lambda v: v + 2, float: lambda v: v * 0.75 or 0.25}.get(type(value))
            key = f"{section}.{name}"
            if other is None or key in base:
                continue
            try:
                changed = resolve([Layer({**base, key: other(value)}, lambda _: "")])
            except ConfigError:
                continue
            seen += 1
            if identified(changed) == before:
                assert key in idle, key
    assert seen > 20


def test_the_same_setting_twice_on_a_command_line_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.epochs: is given twice"):
        parse_overrides(["recipe.epochs=3", "recipe={epochs: 4}"])


def test_nested_and_dotted_keys_do_not_undo_each_other() -> None:
    with pytest.raises(ConfigError, match=r"recipe\.epochs: duplicate key"):
        resolve([Layer({"recipe.epochs": 3, "recipe": {"epochs": 4}}, lambda _: "s.yaml:2")])
