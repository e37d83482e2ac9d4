"""The plan: cells, keys, what is shared and what is left."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from far.config.data import DataConfig
from far.errors import DataError
from far.store.atomic import write_json
from orchestrator.plan.plan import Plan, make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study

PAPER = ["attention_pattern", "interaction", "classifier", "head_ratio", "interaction_position"]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def make(text: str | None = None, content: str = "data", **options) -> Plan:
        studies = [load_study(name, **options) for name in PAPER]
        if text is not None:
            (tmp_path / "s.yaml").write_text(dedent(text))
            studies = [load_study(tmp_path / "s.yaml", **options)]
        return make_plan(studies, Store(tmp_path / "runs"), manifest_hash=lambda data: content)

    return make


def test_tables_2_to_6_are_16_rows_of_12_models(plan) -> None:
    made = plan(seeds=1)
    assert len(made.trials) == 16 + 1  # and a control
    assert len(made.unique()) == 12 + 1
    assert made.duplicates == ()
    key = {(t.study, t.row): t.key for t in made.trials}
    assert key["attention_pattern", "Head-Split Sparse-Dense"] == key["interaction", "w/o Bottleneck"]
    assert key["interaction", "Bottleneck w Group"] == key["classifier", "Global-Mean"]
    assert key["classifier", "Group-Mean"] == key["head_ratio", "1:1"]
    assert key["head_ratio", "1:1"] == key["interaction_position", "Before Attention"]


def test_a_finished_trial_is_done_in_every_study_that_holds_it(plan, tmp_path: Path) -> None:
    made = plan(seeds=2)
    shared = next(t for t in made.trials if t.row == "1:1" and t.seed == 1)
    store = Store(tmp_path / "runs")
    write_json(store.paths(shared.key).result, {"key": shared.key, "state": "finished", "metrics": {"top1": 1.0}})
    again = plan(seeds=2)
    assert {(t.study, t.row, t.seed) for t in again.trials if t.done} == {
        ("classifier", "Group-Mean", 1),
        ("head_ratio", "1:1", 1),
        ("interaction_position", "Before Attention", 1),
    }
    assert len(again.missing()) == 25


def test_a_sweep_generates_no_data_but_its_own(tmp_path: Path) -> None:
    asked: set[str] = set()

    def generate(data: DataConfig) -> str:
        asked.add(data.model_dump_json())
        return "data"

    study = load_study("head_ratio")
    make_plan(study, Store(tmp_path), manifest_hash=generate, present_hash=lambda data: None)
    assert asked == {row.config.data.model_dump_json() for row in study.rows}


def test_results_of_an_earlier_versions_profile_are_named(plan, tmp_path: Path) -> None:
    asked = {"profile": "ssv2-small-mvd", "seeds": 1}
    own = plan(**asked, overrides=["recipe.augment.repeat_frames=own"]).trials[0]
    assert plan(**asked).earlier == ()
    write_json(Store(tmp_path / "runs").paths(own.key).result, {"key": own.key, "state": "finished", "metrics": {}})
    (said,) = plan(**asked).earlier
    assert "'attention_pattern': 1 result" in said
    assert "add recipe.augment.repeat_frames=own" in said
    assert plan(**asked, overrides=["recipe.augment.repeat_frames=own"]).earlier == ()


def test_keys_depend_on_what_changes_numbers_and_on_nothing_else(plan) -> None:
    def keys(*overrides: str, **options) -> list[str]:
        return [t.key for t in plan(seeds=1, overrides=overrides, **options).trials]

    assert keys() == keys("run.devices=2", "run.micro_batch=4", "run.workers=3")
    assert not set(keys()) & set(keys("recipe.lr=0.123"))
    assert not set(keys()) & set(keys(content="other data"))


def test_rows_that_are_the_same_trial_are_flagged_by_name(plan) -> None:
    made = plan(
        """
        study: s
        base: {model.interaction: none}
        rows:
          one: {}
          two: {model.attention: [{global: 1, sparse-dense: 1}]}
          three: {model.classifier: global-mean}
          four: {model.attention: {global: 2, sparse-dense: 2}}
        """
    )
    (duplicate,) = made.duplicates
    assert duplicate.rows == ("one", "two", "four")
    assert "'one' and 'two' and 'four'" in str(duplicate)


def test_missing_data_is_a_problem_of_the_plan_not_a_crash(tmp_path: Path) -> None:
    def gone(data: object) -> str:
        raise DataError("no such data set: ssv2")

    made = make_plan(load_study("head_ratio"), Store(tmp_path), manifest_hash=gone)
    assert made.problems == ("no such data set: ssv2",)
    assert len(made.missing()) == 6


def test_damage_is_reported_and_run_again(plan, tmp_path: Path) -> None:
    text = "study: s\nrows: {a: {}}\nseeds: 1"
    key = plan(text).trials[0].key
    path = Store(tmp_path / "runs").paths(key).result
    path.parent.mkdir(parents=True)
    path.write_text('{"key": "')
    made = plan(text)
    assert [t.key for t in made.missing()] == [key]
    assert str(path) in made.damaged[0]
