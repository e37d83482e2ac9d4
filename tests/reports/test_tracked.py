"""What a finished study's run in MLflow gets: the numbers of its table, and nothing that the table leaves out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.workspace.settings import load_settings
from reports.results.results import Results
from reports.tracked import summarise


def test_means_and_files_are_those_of_the_table(make_results: Callable[..., Results], tmp_path: Path) -> None:
    odd = {("2:1", 1): {"state": "diverged"}}
    make_results("head_ratio", {"1:1": 0.7, "2:1": 0.6, "1:2": 0.5}, changes=odd)
    folder = tmp_path / "report"
    folder.mkdir()
    means = summarise(load_settings(tmp_path), "head_ratio", "demo", folder)
    rows = {row["row"]: row["metrics"] for row in json.loads((folder / "table.json").read_text())["rows"]}
    assert rows["2:1"]["top1"]["n"] == 1
    for name, metrics in rows.items():
        for metric in ("top1", "top5", "loss"):
            assert means[f"mean_{metric}/{name}"] == pytest.approx(metrics[metric]["mean"])
    names = {path.name for path in folder.iterdir()}
    assert {"table.md", "table.csv", "table.tex", "table.html", "pareto.svg", "curves.svg", "classes.svg"} <= names
