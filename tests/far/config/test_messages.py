"""Every setting refuses what it cannot be in plain words: its key, what it must be, what was given."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from far.config import parse_override, resolve
from far.config.layers import section_of
from far.config.trial import TrialConfig
from far.errors import ConfigError
from far.strict import Strict

JARGON = re.compile(
    r"dictionar|constrained|dict\[|list\[|function-|literal\[|pydantic|string|integer|pattern|validation|instance|NoneType"
)


def leaves(section: type[Strict] = TrialConfig, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Dotted keys of all settings, each with its default."""
    made = section.model_validate({})
    for name in section.fields():
        inner = section_of(section, name)
        if inner is None:
            yield ".".join((*path, name)), getattr(made, name)
        else:
            yield from leaves(inner, (*path, name))


SETTINGS = dict(leaves())
RANGES = {key: value for key, value in SETTINGS.items() if isinstance(value, list) and key != "model.attention"}


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e400"])
@pytest.mark.parametrize("key", SETTINGS)
def test_no_setting_takes_a_number_that_is_not_finite(key: str, number: str) -> None:
    given_as = number
    if key in RANGES:
        given_as = f"[{', '.join([number, *map(str, RANGES[key][1:])])}]"
    with pytest.raises(ConfigError) as refused:
        resolve([parse_override(f"{key}={given_as}")])
    assert key in str(refused.value)


@pytest.mark.parametrize("key", ["recipe.augment.crop_scale", "recipe.augment.crop_ratio"])
def test_a_range_that_runs_backwards_is_refused_with_the_right_one(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: .*\[0\.5, 1\]"):
        resolve([parse_override(f"{key}=[1.0, 0.5]")])
    resolve([parse_override(f"{key}=[0.5, 1.0]")])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "model.attention=global",
            "model.attention: must be a mapping .* or a list, e.g. {global: 2, .*, not 'global'",
        ),
        ("model.attention={global: 0}", "model.attention.global: must be at least 1, not 0"),
        ("model.attention={global: 0.5}", "model.attention.global: must be a whole number, not 0.5"),
        ("model.attention=[{global: 1}, {global: x}]", "model.attention.1.global: must be a whole number, not 'x'"),
        ("data.source=123", "data.source: must be text, not 123: such text needs quotes"),
        ("data.mean=[0.5]", "data.mean: must have 3 entries"),
        ("data.std=[0, 0, 0]", "data.std.0: must be more than 0"),
        ("recipe.betas=[0.9, 1.0]", "recipe.betas.1: must be less than 1"),
        ("recipe.precision=fp8", "unknown value 'fp8'. Did you mean 'fp32'"),
        ("recipe.augment.mix_group=3", "must be a multiple of 2, not 3"),
        ("recipe.epochs=1e3", "must be a whole number, not 1000.0"),
        ("recipe.epochs=null", "must be a whole number, not null"),
        ("model.width=wide", "model.width: must be a whole number, not 'wide'"),
        ("recipe.epochs=" + "9" * 39, "must be at most 1000000000, not 99+"),
        ("model.clip=[2000000, 2240, 2240]", "model.clip: cut into .* tokens"),
        ("recipe.lr=!x 3", "recipe.lr: '!x' is a YAML tag"),
    ],
)
def test_the_message_says_what_would_be_right(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"command line: .*{said}"):
        resolve([parse_override(override)])


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text("ab:{[&!% ", max_size=5), st.just("x" * 100),
    st.lists(st.integers(-1, 2) | st.floats() | st.text("ab", max_size=2) | st.just({"global": 0.5}), max_size=4),
    st.dictionaries(st.sampled_from(["global", "a", ""]), st.integers(-1, 2) | st.floats() | st.none(), max_size=2),
)  # fmt: skip


@settings(max_examples=300)
@given(key=st.sampled_from(sorted(SETTINGS)), junk=JUNK)
def test_whatever_is_given_is_taken_or_refused_in_plain_words(key: str, junk: object) -> None:
    from far.config.layers import Layer

    try:
        config = resolve([Layer({key: junk}, lambda _: "here")])
    except ConfigError as error:
        said = str(error).partition(", not ")[0]  # what was given is quoted, whatever it is
        assert said.startswith("here: ")
        assert key.partition(".")[0] in said
        assert not JARGON.search(said), said
        assert "\n" not in said and len(said) < 400
    else:
        assert all(math.isfinite(value) for value in numbers(config.model_dump()))


def numbers(tree: Any) -> Iterator[float]:
    if isinstance(tree, (dict, list)):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from numbers(value)
    elif isinstance(tree, (int, float)):
        yield tree
