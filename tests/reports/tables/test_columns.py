"""Chosen columns: these and no others, in the order asked for, in every format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from far.errors import ConfigError
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.tables.columns import read_columns
from reports.tables.registry import build_all

MakeResults = Callable[..., Results]


def test_every_format_shows_the_chosen_columns_alone(make_results: MakeResults) -> None:
    failed = {"state": "failed", "metrics": None, "error": {"kind": "data", "message": "no file"}}
    tables = build_all([], [make_results("head_ratio", changes={("2:1", 1): failed})], columns=("flops", "paper_top1"))
    assert [column.key for column in tables[0].columns] == ["row", "flops", "paper_top1"]
    for name in RENDERERS:
        text = RENDERERS[name](tables)
        assert "1:2" in text and "71.1" in text
        for absent in ("Top-5", '"top5": {', ",top5,", "Params", "delta", "verdict", "93.0"):
            assert absent not in text, (name, absent)
    data = json.loads(RENDERERS["json"](tables))
    assert set(data["rows"][0]) == {"row", "state", "seeds", "flops", "paper"}
    assert data["rows"][0]["paper"] == {"top1": 71.1}
    assert {line["metric"] for line in csv.DictReader(io.StringIO(RENDERERS["csv"](tables)))} == {"flops", "paper_top1"}
    assert r"2:1\textsuperscript{a}" in RENDERERS["latex"](tables)  # the letter stood on Top-1


def test_notes_about_columns_that_are_not_shown_go(make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=3)
    said = {
        columns: " ".join(note.text for note in build_all([], [results], columns=columns)[0].notes)
        for columns in ((), ("top1",), ("top1", "paper_top1"), ("verdict",))
    }
    assert ["'paper'" in text for text in said.values()] == [True, False, True, False]
    assert ["Δ: percentage points" in text for text in said.values()] == [True, False, False, True]
    assert all("standard deviation" in text for text in said.values())


def test_a_column_that_comes_later_is_known_and_one_that_never_does_is_not(make_results: MakeResults) -> None:
    nothing = make_results("head_ratio", skip={(row, seed) for row in ("1:1", "2:1", "1:2") for seed in (0, 1)})
    table = build_all([], [nothing], columns=("top1", "delta_top1"))[0]
    assert [column.key for column in table.columns] == ["row", "top1"]
    with pytest.raises(ConfigError, match="Did you mean 'paper_top5'"):
        build_all([], [nothing], columns=("top1", "paper_top_5"))


def test_tables_that_have_none_of_the_columns_stay_whole(make_results: MakeResults) -> None:
    first, fifth, seventh = build_all([1, 7], [make_results("head_ratio")], columns=("Backbone", "top1", "paper_top1"))
    assert first.columns == build_all([1], [])[0].columns
    assert [column.key for column in fifth.columns] == ["row", "top1", "paper_top1"]
    assert [column.key for column in seventh.columns] == ["Method", "Backbone", "paper_top1"]


def test_columns_as_they_are_typed() -> None:
    assert read_columns("top1, flops,delta,seeds") == ("top1", "flops", "delta_top1", "n")
    for wrong in ("", "top1,", "top1,top1", "delta,delta_top1"):
        with pytest.raises(ConfigError, match="--columns"):
            read_columns(wrong)
