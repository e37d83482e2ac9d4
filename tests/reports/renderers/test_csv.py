"""CSV: one tidy file, whatever tables it holds and whatever their rows are called."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from reports.renderers import RENDERERS
from reports.renderers.csv_ import quoted
from reports.results.results import Results
from reports.results.state import State
from reports.tables.model import Cell, Column, Origin, Row, Table
from reports.tables.registry import build_all

MakeResults = Callable[..., Results]


def test_several_tables_are_one_file_that_pandas_reads(make_results: MakeResults) -> None:
    said = [{"metrics": {"top1": top1, "top5": 90.0}, "with_answers": False} for top1 in (70.0, 71.0, 73.0)]
    changes = {("1:1", seed): each for seed, each in enumerate(said)}
    results = make_results("head_ratio", changes=changes, seeds=3, skip={("1:2", 0), ("1:2", 1), ("1:2", 2)})
    tables = build_all([1, 7], [results])
    read = pd.read_csv(io.StringIO(RENDERERS["csv"](tables)))
    assert list(read.columns[:8]) == ["table", "row", "metric", "mean", "std", "n", "low", "high"]
    assert list(read["table"].unique()) == [1, 5, 7]
    top1 = read[(read.table == 5) & (read.metric == "top1")].set_index("row")
    assert list(top1.index) == ["1:1", "2:1", "1:2"]
    assert top1.loc["1:1", ["n", "unit", "origin", "state"]].tolist() == [3, "%", "measured", "finished"]
    assert abs(top1.loc["1:1", "mean"] - 214 / 3) < 1e-12 and abs(top1.loc["1:1", "std"] - 1.5275252316519468) < 1e-12
    assert pd.isna(top1.loc["1:2", "mean"]) and top1.loc["1:2", "state"] == "missing"
    delta = read[read.metric == "delta_top1"].set_index("row")
    assert pd.isna(delta.loc["1:1", "mean"]) and delta.loc["1:1", "text"] == "baseline"
    assert delta.loc["2:1", "unit"] == "points" and not pd.isna(delta.loc["2:1", "mean"])
    paper = read[(read.table == 5) & (read.metric == "paper_top1")]
    assert set(paper.origin) == {"paper"} and paper["mean"].tolist() == [71.1, 70.7, 70.7]
    assert {"videomae_ssv2", "mvd_k400"} <= set(read[read.table == 1].metric)
    literature = read[(read.table == 7) & (read.metric == "Extra Data")]
    whole = pd.read_csv(io.StringIO(RENDERERS["csv"](build_all([], [make_results("head_ratio", seeds=3)]))))
    delta = whole[whole.metric == "delta_top1"].set_index("row").loc["2:1"]
    assert delta["low"] < delta["mean"] < delta["high"]
    assert "-" in set(literature.text) and not any(str(text).startswith("'") for text in literature.text)


NAMES = st.text("=+-@'\t\r\n ab,\"1γ模", min_size=1, max_size=5)


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_names_stay_different_and_no_spreadsheet_runs_them(names: Sequence[str]) -> None:
    columns = (Column("row", "Row", Origin.LABEL), Column("top1", "Top-1 (%)"), Column("what", "x", Origin.LABEL))
    cells = [{"row": Cell(name), "top1": Cell(1.0), "what": Cell(name * 2)} for name in names]
    rows = tuple(Row(name, each, State.FINISHED) for name, each in zip(names, cells, strict=True))
    lines = list(csv.DictReader(io.StringIO(RENDERERS["csv"]([Table("t", "t", columns, rows)]), newline="")))
    written = [line["row"] for line in lines if line["metric"] == "top1"]
    assert len(set(written)) == len(names) == len(written)
    for text in (text for line in lines for text in line.values()):
        assert not text.startswith(("=", "@", "\t", "\r")) and (not text.startswith(("+", "-")) or len(text) == 1)
    assert [quoted(name) for name in names] == written


def test_what_is_said_of_a_row_stands_there_though_it_reads_like_its_name(
    make_results: MakeResults, tmp_path: Path
) -> None:
    study = tmp_path / "s.yaml"
    study.write_text("study: s\nbaseline: baseline\nrows: {baseline: {}, '2': {recipe.lr: 0.1}}\n")
    read = pd.read_csv(io.StringIO(RENDERERS["csv"](build_all([], [make_results(study)]))))
    assert read[read.metric == "delta_top1"].set_index("row").loc["baseline", "text"] == "baseline"
    assert read[read.metric == "seeds"].set_index("row")["text"].to_dict() == {"baseline": "2", "2": "2"}
    assert not set(read.metric) & {"row", "name"}
