"""Tables from results: layout, averages, states that are never averaged away, the paper's numbers beside them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable

import pytest

from far.errors import ConfigError
from reports import paper
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.results.state import State
from reports.tables.ablation import build_table
from reports.tables.model import Cell
from reports.text import number

MakeResults = Callable[..., Results]
ERROR = {"kind": "data", "message": "no such <script>alert(1)</script> file & 50 % of_it"}
FAILED = {"state": "failed", "metrics": None, "error": ERROR, "flops": None, "params": None}


def as_json(results) -> dict:
    return json.loads(RENDERERS["json"]([build_table(results)]))


def test_table_5_has_the_papers_rows_and_numbers(make_results: MakeResults) -> None:
    table = build_table(make_results("head_ratio"))
    assert [row.name for row in table.rows] == ["1:1", "2:1", "1:2"]
    assert [c.title for c in table.columns][:3] == ["Ratio (Global:Sparse-Dense)", "Top-1 (%)", "Top-5 (%)"]
    data = as_json(make_results("head_ratio"))
    assert (data["table"], data["profile"]) == (5, "demo")
    assert [row["paper"] for row in data["rows"]] == [
        {"top1": 71.1, "top5": 92.9, "flops": 53.5},
        {"top1": 70.7, "top5": 92.9, "flops": 55.4},
        {"top1": 70.7, "top5": 93.0, "flops": 51.6},
    ]


def test_mean_and_sample_deviation(make_results: MakeResults) -> None:
    said = [{"metrics": {"top1": top1, "top5": 90.0}, "with_answers": False} for top1 in (70.0, 71.0, 73.0)]
    changes = {("1:1", seed): each for seed, each in enumerate(said)}
    row = as_json(make_results("head_ratio", changes=changes, seeds=3))["rows"][0]
    top1 = row["metrics"]["top1"]
    assert top1["values"] == [70.0, 71.0, 73.0]
    assert top1["n"] == 3
    assert math.isclose(top1["mean"], 71.3333333, rel_tol=1e-6)
    assert math.isclose(top1["std"], 1.5275252, rel_tol=1e-6)
    assert row["state"] == "finished"


def test_one_seed_has_no_deviation(make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=1)
    assert as_json(results)["rows"][0]["metrics"]["top1"]["std"] is None
    assert all("±" not in row.cells["top1"].text for row in build_table(results).rows)


def test_gaps_are_visible(make_results: MakeResults) -> None:
    results = make_results(
        "head_ratio",
        skip={("1:2", 0), ("1:2", 1)},
        changes={("2:1", 1): FAILED, ("1:1", 0): {"state": "diverged", "metrics": {"top1": 1.0}}},
    )
    data = as_json(results)
    assert [row["state"] for row in data["rows"]] == ["partial", "partial", "missing"]
    assert data["rows"][0]["metrics"]["top1"]["n"] == 1  # what diverged is not in the mean
    assert data["rows"][2]["metrics"]["top1"] == {"mean": None, "std": None, "n": 0, "values": []}
    text = RENDERERS["term"]([build_table(results)])
    assert "(1/2 seeds)" in text
    assert "missing" in text
    assert "2:1, seed 1: failed (data)" in text
    assert "1:1, seed 0: diverged" in text


def test_incomplete_rows_are_never_the_best(make_results: MakeResults) -> None:
    accuracies = {"1:1": 0.9, "2:1": 0.5, "1:2": 0.4}
    table = build_table(make_results("head_ratio", accuracies, skip={("1:1", 1)}))
    assert [row.cells["top1"].best for row in table.rows] == [False, True, False]


def test_costs_are_those_of_the_model_that_ran(make_results: MakeResults) -> None:
    changes = {("1:1", 0): {"flops": 53_489_260_000, "params": 23_412_000}}
    changes |= {("1:1", 1): {"flops": 53_489_260_000, "params": 23_412_000}}
    changes |= {("2:1", 0): {"flops": 1}}
    results = make_results("head_ratio", changes=changes)
    table = build_table(results)
    assert table.rows[0].cells["flops"].text == "53.5"
    assert as_json(results)["rows"][0]["flops"] == 53_489_260_000
    assert table.rows[1].cells["flops"].state is State.INCOMPARABLE  # the seeds disagree
    assert as_json(results)["rows"][1]["flops"] is None


def test_demo_numbers_are_marked(make_results: MakeResults) -> None:
    results = make_results("head_ratio")
    for name in set(RENDERERS) - {"csv", "json"}:
        text = RENDERERS[name]([build_table(results)])
        assert "demo" in text
        assert "not comparable with the paper" in text, name
        assert "aper" in text


@pytest.mark.parametrize("name", list(RENDERERS))
def test_every_format_escapes_and_carries_every_row(name: str, make_results: MakeResults) -> None:
    text = RENDERERS[name]([build_table(make_results("head_ratio", changes={("2:1", 1): FAILED}))])
    assert all(ratio in text for ratio in ("1:1", "2:1", "1:2"))
    if name == "html":
        assert "<script" not in text
        assert "&lt;script&gt;" in text
    if name == "latex":
        assert r"50 \% of\_it" in text
    if name == "md":
        assert r"\<script\>" in text


def test_csv_carries_that_numbers_are_not_the_papers(make_results: MakeResults) -> None:
    demo, paper = make_results("head_ratio"), make_results("head_ratio", profile="ssv2-small-mvd")
    for results, comparable, said in ((demo, "no", "not comparable with the paper's"), (paper, "yes", "")):
        rows = list(csv.DictReader(io.StringIO(RENDERERS["csv"]([build_table(results)]))))
        assert {row["comparable"] for row in rows} == {comparable}
        assert all(said in row["warning"] for row in rows) and all(bool(row["warning"]) == bool(said) for row in rows)


@pytest.mark.parametrize(("study", "number"), [("attention_pattern", 2), ("interaction", 3), ("classifier", 4),
                                               ("head_ratio", 5), ("interaction_position", 6)])  # fmt: skip
def test_every_ablation_table_matches_the_paper_row_for_row(study: str, number: int, make_results: MakeResults) -> None:
    table = build_table(make_results(study, skip=set()))
    printed = paper.paper_table(number)
    rows = [row for row in table.rows if row.name != "Control"]
    assert [row.name for row in rows] == [row.name for row in printed.rows]
    for row, about in zip(rows, printed.rows, strict=True):
        assert row.cells["paper_top1"].value == about.numbers["top1"]
    assert [row.name for row in table.rows if row.default] == [printed.facts.default_row]


def test_unknown_table() -> None:
    with pytest.raises(ConfigError, match="no table 9"):
        paper.paper_table(9)


def test_numbers_have_true_minus_signs() -> None:
    assert number(-0.44, 1, signed=True) == "−0.4"
    assert number(-0.04, 1, signed=True) == "0.0"
    assert number(0.26, 1, signed=True) == "+0.3"
    assert Cell(70.04, values=(70.0, 70.1), std=0.07).text == "70.0 ± 0.1"


def test_a_narrow_terminal_breaks_no_number(make_results: MakeResults, monkeypatch: pytest.MonkeyPatch) -> None:
    table = build_table(make_results("head_ratio", seeds=3))
    monkeypatch.setenv("COLUMNS", "80")
    text = RENDERERS["term"]([table])
    assert max(len(line) for line in text.splitlines()) <= 80
    for row in table.rows:
        for key in ("top1", "flops", "params", "paper_top1", "paper_flops"):
            assert row.cells[key].text in text
