"""Another table of the paper is one entry and one study: what validates, counts and lays out tables agrees about it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

import pytest

import farlab
from orchestrator.study.paper import TableFacts, paper_facts
from orchestrator.study.profiles import packaged_studies

STUDY = """
study: ninth
table: 9
rows:
  All: {model.attention: {global: 1}}
  Half: {model.attention: {global: 1, sparse-dense: 1}}
"""
ENTRY = TableFacts(
    title="A ninth table",
    kind="ablation",
    columns=["Type", "Top-1 (%)", "FLOPS (G)"],
    rows=[["All", 70.7, 58.1], ["Half", 70.6, 53.5]],
    setting="Something-Something V2",
    profile="ssv2-small-mvd",
    classes=174,
)


def test_a_ninth_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = tmp_path / "shipped"
    shutil.copytree(packaged_studies(), shipped)
    (shipped / "ninth.yaml").write_text(STUDY)
    for place in ("study.profiles", "study.lookup"):
        monkeypatch.setattr(f"orchestrator.{place}.packaged_studies", lambda: shipped)
    monkeypatch.setattr("reports.paper.studies.packaged_studies", lambda: shipped)
    monkeypatch.setitem(cast("dict[int, TableFacts]", paper_facts()), 9, ENTRY)
    monkeypatch.chdir(tmp_path)
    assert farlab.run(["validate", "ninth"]) == 0
    capsys.readouterr()
    assert farlab.run(["cost", "--table", "9", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert [(row["row"], row["paper"]["flops"]) for row in counted["rows"]] == [("All", 58.1), ("Half", 53.5)]
    assert round(counted["rows"][1]["flops"] / 1e9, 1) == 53.5
    assert farlab.run(["report", "--table", "9", "--format", "json"]) == 0
    assert "A ninth table" in capsys.readouterr().out


def test_a_table_that_the_paper_has_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text(STUDY)
    assert farlab.run(["validate", str(tmp_path / "s.yaml")]) == 2
    assert "the paper has no table 9 of results" in capsys.readouterr().err
