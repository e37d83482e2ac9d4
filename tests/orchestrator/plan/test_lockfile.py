"""Freezing at submission: an edit afterwards is told, and changes nothing of what was submitted."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
from ruamel.yaml import YAML

from far.errors import ConfigError
from orchestrator.plan.lockfile import load_lockfile, write_lockfile
from orchestrator.plan.plan import Plan, make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study

TEXT = """
study: s
title: "A: title"
rows:
  "1:1": {model.attention: {global: 1, sparse-dense: 1}}
  'say "hi"': {recipe.lr: 0.5}
"""


@pytest.fixture
def submit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs")

    def submit(text: str, **options) -> tuple[Plan, list[str]]:
        (tmp_path / "s.yaml").write_text(dedent(text))
        plan = make_plan(load_study("s.yaml", **options), store, manifest_hash=lambda data: "d")
        return plan, write_lockfile(plan, store)

    submit.path = store.study("s").lockfile("demo")
    submit.store = store
    return submit


def test_the_frozen_study_gives_the_same_plan(submit) -> None:
    plan, said = submit(TEXT, overrides=["recipe.epochs=3"])
    assert said == []
    study = load_lockfile(submit.path)
    again = make_plan(study, submit.store, manifest_hash=lambda data: "d")
    assert [(t.row, t.seed, t.key, t.config) for t in again.trials] == [
        (t.row, t.seed, t.key, t.config) for t in plan.trials
    ]
    before = plan.studies[0]
    for name in ("name", "title", "table", "row_header", "baseline", "seeds", "resources", "retry", "overrides"):
        assert getattr(study, name) == getattr(before, name)
    assert study.profile.name == "demo"
    assert submit.store.studies() == ["s"]


def test_an_edit_changes_nothing_that_was_submitted(submit, tmp_path: Path) -> None:
    plan, _ = submit(TEXT)
    (tmp_path / "s.yaml").write_text(TEXT.replace("0.5", "0.25"))
    assert load_lockfile(submit.path).row('say "hi"').config == plan.studies[0].row('say "hi"').config


def test_a_new_submission_says_what_changed_and_keeps_the_old(submit) -> None:
    submit(TEXT)
    assert submit(TEXT)[1] == []
    _, said = submit(TEXT.replace("0.5", "0.25") + "  new: {}\nseeds: 1\n")
    told = "\n".join(said)
    assert "row 'say \"hi\"': recipe.lr 0.5 -> 0.25" in told
    assert "row 'new' added" in told
    assert "seeds [0, 1] -> [0]" in told
    assert "row '1:1'" not in told
    assert len(list((submit.path.parent / "history").iterdir())) == 1


def test_settings_that_came_later_and_change_no_number_are_no_change(submit) -> None:
    submit(TEXT)
    header, _, whole = submit.path.read_text().partition("{")
    tree = json.loads("{" + whole)
    for row in tree["rows"].values():
        for name in ("share", "share_memory", "cache", "cache_folder"):
            del row["config"]["data"][name]
    submit.path.write_text(header + json.dumps(tree))
    assert submit(TEXT)[1] == []


def test_the_file_is_yaml_too(submit) -> None:
    plan, _ = submit(TEXT)
    tree = YAML(typ="safe").load(submit.path.read_text())
    assert tree["rows"]["1:1"]["trials"]["1"] == plan.trials[1].key
    assert tree["rows"]["1:1"]["config"]["model"]["attention"] == {"global": 1, "sparse-dense": 1}


@pytest.mark.parametrize("content", ["", "{}", '{"rows": {"a": {}}}', '{"rows": 3'])
def test_a_damaged_submission_is_a_clear_error(submit, content: str) -> None:
    submit(TEXT)
    submit.path.write_text(content)
    with pytest.raises(ConfigError, match=r"study\.lock\.yaml"):
        load_lockfile(submit.path)
