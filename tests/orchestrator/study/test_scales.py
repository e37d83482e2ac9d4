"""Rows with settings of their own at a scale: the comparisons of Tables 7 and 8."""

from __future__ import annotations

from pathlib import Path

import pytest

from far.config import resolve
from far.errors import ConfigError
from orchestrator.study import find_profile, find_study, load_study
from orchestrator.study.profiles import packaged_studies
from orchestrator.study.scales import OtherScaleError

HEAD = "study: s\nrows: {a: {model.drop_path: 0.1}, b: {}}\n"


def written(path: Path, scales: str) -> Path:
    (path / "s.yaml").write_text(f"{HEAD}scales: {scales}\n")
    return path / "s.yaml"


@pytest.mark.parametrize("data", ["ssv2", "k400"])
def test_at_the_papers_scale_each_row_has_its_own_recipe(data: str) -> None:
    study = load_study(data, profile=f"paper-{data}")
    assert len(study.rows) == 8
    for row in study.rows:
        size = "small" if row.name.endswith("S") else "base"
        profile = f"{data}-{size}-{'mvd' if 'MVD' in row.name else 'videomae'}"
        theirs = resolve(find_profile(profile, [packaged_studies() / "profiles"]).layers)
        assert (row.config.recipe, row.config.data, row.config.init) == (theirs.recipe, theirs.data, theirs.init)
        assert row.config.model.backbone == size
        assert (row.config.model.interaction == "none") == (not row.name.startswith("FAR"))
        assert row.settings["recipe.epochs"] == row.config.recipe.epochs  # so that the table knows that it is meant


def test_on_the_demo_all_rows_differ(tmp_path: Path) -> None:
    rows = load_study("ssv2").rows
    assert len({row.config.model_dump_json() for row in rows}) == 8
    assert {row.config.recipe.epochs for row in rows} == {8}


def test_a_study_is_found_by_its_name_wherever_it_is_shipped() -> None:
    assert find_study("baselines").parent.name == "comparisons"


def test_what_a_row_sets_itself_stands_over_its_scale(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, "{demo: {a: {model.drop_path: 0.3, recipe.epochs: 2}}}"), profile="demo")
    a, b = (row.config for row in study.rows)
    assert (a.model.drop_path, a.recipe.epochs) == (0.1, 2)
    assert (b.model.drop_path, b.recipe.epochs) == (0.0, 8)


def test_another_profile_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(OtherScaleError, match="no rows at profile 'csv'") as refused:
        load_study(written(tmp_path, "{demo: {a: {recipe.epochs: 2}}}"), profile="csv")
    assert refused.value.choices == ["demo"]


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        ("{demo: {c: {recipe.epochs: 2}}}", "no row is called 'c'"),
        ("{demo: {a: {profile: dmo}, b: {profile: demo}}}", "unknown profile 'dmo'"),
        ("{demo: {a: {profile: demo}}}", "row 'b' has no profile"),
        ("{demo: {a: {recipe.epoch: 2}}}", "unknown key 'epoch'"),
        ("{paper-ssv2: {a: {recipe.epochs: 2}}}", "only there to be extended"),
        ("{demo: {a: {}}}", "at least 1"),
    ],
)
def test_mistakes_are_named_with_their_line(scales: str, said: str, tmp_path: Path) -> None:
    profile = scales[1:].partition(":")[0]
    with pytest.raises(ConfigError, match=said) as refused:
        load_study(written(tmp_path, scales), profile=profile)
    assert refused.value.where is not None
    assert refused.value.where == "command line" or refused.value.where.endswith("s.yaml:3")
