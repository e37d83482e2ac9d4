"""Numbers stand beside the paper's unmarked only where they come from the paper's own setting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import farlab
from orchestrator.study import load_study
from reports.paper.protocol import deviations
from reports.tables.registry import build_one

SHIPPED = ["attention_pattern", "interaction", "classifier", "head_ratio", "interaction_position"]
MINE = """
study: mine
table: 5
base: {recipe.epochs: 1}
rows:
  "1:1": {model.attention: {global: 1, sparse-dense: 1}}
  "2:1": {model.attention: {global: 2, sparse-dense: 1}}
seeds: 2
"""
TABLE_7 = """
study: seventh
table: 7
rows:
  FAR (MVD) ViT-S: {model.classifier: group-mean}
  MVD ViT-S: {model: {attention: {global: 1}, interaction: none, classifier: global-mean}}
seeds: 1
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(directory: Path, text: str) -> Path:
    path = directory / "own.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("study", SHIPPED)
def test_the_shipped_studies_are_the_papers_setting(study: str) -> None:
    """Their bases differ from the profile (Table 2 has no interaction), and how they run changes no number."""
    assert not deviations(load_study(study, profile="ssv2-small-mvd", overrides=["run.devices=1", "run.workers=2"]))


@pytest.mark.parametrize("study", SHIPPED)
@pytest.mark.parametrize("override", ["recipe.epochs=20", "data.source=demo", "model.position_embedding=learned"])
def test_any_other_setting_is_named(study: str, override: str) -> None:
    key, _, value = override.partition("=")
    (only,) = deviations(load_study(study, profile="ssv2-small-mvd", overrides=[override]))
    assert only.startswith(f"{key} = {value} instead of ")


def test_what_a_row_is_meant_to_vary_may_not_be_overridden() -> None:
    found = deviations(load_study("head_ratio", profile="ssv2-small-mvd", overrides=["model.attention={global: 1}"]))
    assert any(text.startswith("model.attention = 1 global instead of 1 global + 1 sparse-dense") for text in found)


def test_changed_settings_are_marked_in_every_form(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = written(workspace, MINE)
    changes = ["data.source=demo", "data.classes=10", "model.backbone=tiny"]
    asked = ["report", "--study", str(study), "--profile", "ssv2-small-mvd", *changes]
    for name in ("term", "md", "latex", "html"):
        assert farlab.run([*asked, "--format", name]) == 0
        text = " ".join(capsys.readouterr().out.replace("\\_", "_").split())
        assert "71.1" in text
        assert "not comparable with the paper" in text, name
        assert "data.source = demo instead of ssv2" in text and "recipe.epochs = 1 instead of 40" in text, name
        assert "Overrides on the command line: data.source=demo data.classes=10 model.backbone=tiny." in text
    assert farlab.run([*asked, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comparable"] is False and "data.source = demo" in found["warning"]


def test_the_profile_must_be_that_of_the_table(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["report", "--table", "5", "--profile", "k400-base-mvd"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the profile is k400-base-mvd, that of Table 5 is ssv2-small-mvd" in text
    assert farlab.run(["report", "--table", "5", "--profile", "ssv2-small-mvd", "run.devices=1", "-f", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["comparable"] is True
    assert "Overrides on the command line: run.devices=1." in [note["text"] for note in found["notes"]]


def test_rows_of_table_7_are_compared_each_with_its_own_profile(
    make_results: Callable, workspace: Path, tmp_path: Path
) -> None:
    study = written(workspace, TABLE_7)
    assert not deviations(load_study(study, profile="ssv2-small-mvd"))
    other = deviations(load_study(study, profile="k400-small-mvd"))
    assert other[0] == "the profile is k400-small-mvd, that of Table 7 is ssv2-*"
    assert any(text.startswith("recipe.epochs") for text in other)
    assert deviations(load_study(study, profile="ssv2-base-mvd"))  # the rows say ViT-S
    table = build_one(make_results(study, seeds=1, profile="ssv2-small-mvd", overrides=["recipe.epochs=2"]))
    assert "recipe.epochs = 2 instead of 40" in table.warning
    assert any("Overrides on the command line: recipe.epochs=2" in note.text for note in table.notes)


def test_a_profile_of_the_workspace_that_only_runs_otherwise_stays_comparable(workspace: Path) -> None:
    (workspace / "profiles").mkdir()
    text = "profile: here\ncomparable: true\nextends: ssv2-small-mvd\nsettings: {run: {devices: 1}"
    (workspace / "profiles" / "here.yaml").write_text(text + "}\n")
    assert not deviations(load_study("head_ratio", profile="here"))
    (workspace / "profiles" / "here.yaml").write_text(text + ", recipe: {lr: 1.0}}\n")
    assert any(
        "recipe.lr = 1.0 instead of 0.001" in each for each in deviations(load_study("head_ratio", profile="here"))
    )


def test_costs_of_other_models_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["cost", "head_ratio", "--profile"]
    assert farlab.run([*asked, "ssv2-small-mvd", "model.clip=[8,224,224]"]) == 0
    assert "not of this profile with model.clip=[8,224,224]" in capsys.readouterr().out
    assert farlab.run([*asked, "k400-base-mvd"]) == 0
    assert "not of this profile" in capsys.readouterr().out
    assert farlab.run([*asked, "ssv2-small-mvd", "recipe.epochs=2"]) == 0  # which costs do not depend on
    assert "not of this profile" not in capsys.readouterr().out


@pytest.mark.parametrize("study", ["ssv2", "k400"])
def test_the_shipped_comparisons_are_the_papers_setting(study: str) -> None:
    assert not deviations(load_study(study, profile=f"paper-{study}", overrides=["run.devices=1"]))
    (only,) = deviations(load_study(study, profile=f"paper-{study}", overrides=["recipe.betas=[0.9, 0.95]"]))
    assert only.startswith("recipe.betas")
