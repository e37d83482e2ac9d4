"""The command line: what a user types, what a wrong input gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import farlab


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_fresh_workspace_shows_what_is_missing_and_generates_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert farlab.run(["report", "--table", "5"]) == 0
    text = capsys.readouterr().out
    assert text.count("missing") >= 6
    assert "71.1" in text and "farlab sweep" in text
    assert not (workspace / "data").exists()
    assert farlab.run(["report", "--table", "5", "--strict"]) == 3


def test_the_hint_repeats_what_was_typed(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["report", "--table", "5", "--profile", "csv", "--seeds", "3,", "recipe.epochs=2", "--format", "md"]
    assert farlab.run(typed) == 0
    hint = capsys.readouterr().out.replace("\\", "")
    assert "farlab sweep head_ratio recipe.epochs=2 --profile csv --seeds 3," in hint


def test_tables_of_the_literature_show_our_rows_where_they_run(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, study in ((7, "ssv2"), (8, "k400")):
        for profile, has_rows in (("demo", True), (f"paper-{study}", True), ("ssv2-small-mvd", False)):
            assert farlab.run(["report", "--table", str(number), "--profile", profile, "--format", "json"]) == 0
            data = json.loads(capsys.readouterr().out)
            ours = [row for row in data["rows"] if row["group"] == "our implementation"]
            assert len(ours) == 8
            notes = " ".join(note["text"] for note in data["notes"])
            assert ("Nothing has run yet" in notes) == has_rows
            assert (data["profile"] == profile) == has_rows
            assert ("demo" in data["warning"]) == (profile == "demo")
        assert farlab.run(["report", "--study", study, "--profile", "csv"]) == 2


def test_json_of_a_table(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["report", "--table", "5", "--format", "json", "--seeds", "3"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["table"] == 5 and data["profile"] == "demo"
    assert [row["row"] for row in data["rows"]] == ["1:1", "2:1", "1:2"]
    assert set(data["rows"][0]) >= {"row", "metrics", "flops", "params", "paper", "state"}
    assert set(data["rows"][0]["metrics"]["top1"]) == {"mean", "std", "n", "values"}
    assert len(data["rows"][0]["seeds"]) == 3


def test_all_tables_in_the_order_of_the_paper(workspace: Path) -> None:
    assert farlab.run(["report", "--all", "--format", "json", "-o", "all.json"]) == 0
    assert [table["table"] for table in json.loads(Path("all.json").read_text())] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("name", ["t.md", "t.tex", "t.csv", "t.html", "t.json", "t.txt"])
def test_the_files_name_chooses_the_format(name: str, workspace: Path) -> None:
    assert farlab.run(["report", "-t", "5,7", "-o", name]) == 0
    text = Path(name).read_text()
    starts = {".md": "###", ".tex": "%", ".csv": "table,", ".html": "<!doctype", ".json": "[", ".txt": "Table 5."}
    assert text.startswith(starts[Path(name).suffix])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--table N"),
        (["--table", "9"], "no table 9"),
        (["--table", "x"], "not a table's number"),
        (["--study", "head_rato"], "Did you mean 'head_ratio'"),
        (["--table", "5", "--format", "tex"], "Did you mean 'latex'"),
        (["--table", "5", "recipe.epoch=3"], "recipe.epoch"),
        (["--table", "5", "head_rato"], "Did you mean 'head_ratio'"),
        (["--table", "5", "-o", "t.xyz"], "no format has the ending '.xyz'"),
        (["--table", "5", "-o", "t.PDF"], "write LaTeX (-o tables.tex) and compile it"),
        (["--table", "5", "-o", "t.pdf", "--format", "latex"], "no table is written as .pdf"),
        (["--table", "5", "-o", "t.xlsx"], "write CSV (-o tables.csv)"),
        (["--table", "5", "-o", "t.docx"], "write the page (-o report/)"),
        (["--table", "5", "-o", "t.csv", "--format", "md"], "t.csv is named as csv"),
        (["--table", "5", "--explain", "1:1", "top1", "-o", "t.pdf"], "an account is plain text"),
        (["--table", "5", "--columns", "top1,dleta"], "Did you mean 'delta_top1'?"),
        (["--table", "5", "--columns", "top1,delta,Δ"], "'Δ'"),
        (["--table", "5", "--columns", "top1,,flops"], "a name is empty"),
        (["--table", "1", "--columns", "top1"], "no table here has a column 'top1'"),
        (["--table", "5", "--store", "nowhere"], "no such folder"),
        (["--table", "5", "--seeds", "two"], "--seeds"),
        (["--table", "5", "--explain", "3:1", "top1"], "no row '3:1'"),
        (["--table", "5", "--watch"], "--watch"),
        (["--table", "5", "-o", "/proc/none/t.md"], "cannot be written"),
    ],
)
def test_wrong_input(arguments: list[str], message: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["report", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_power(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["power", "--difference", "0.4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    least, most = found["seeds_needed"]
    assert 2 < least < most < 50
    assert farlab.run(["power", "--rows", "12", "--json"]) == 0
    many = json.loads(capsys.readouterr().out)
    assert many["detectable"]["2"] < found["detectable"]["2"]  # more rows tell more of how seeds vary
    assert farlab.run(["power", "--videos", "2", "--json"]) == 0
    few = json.loads(capsys.readouterr().out)
    assert set(few["detectable"].values()) == {None}  # accuracies differ by 100 points at most
    assert farlab.run(["power", "--videos", "2"]) == 0
    assert "smallest seen     none   none" in capsys.readouterr().out
    assert farlab.run(["power", "--paper"]) == 0
    assert "Temporal against Global" in capsys.readouterr().out
    assert farlab.run(["power", "--table", "5"]) == 2


def test_figure(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["figure", "2", "-o", "f.png"]) == 0
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    assert farlab.run(["figure", "3"]) == 2
    assert farlab.run(["figure", "pareto"]) == 2
    assert farlab.run(["figure", "pareto", "--table", "5"]) == 3  # nothing has finished
    assert farlab.run(["explain", "none.mp4", "--table", "5"]) == 2
    assert "none.mp4" in capsys.readouterr().err
