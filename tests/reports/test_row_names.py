"""Names of rows: what a user wrote is what stands there, and no row takes what belongs to another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farlab
from far.errors import ConfigError
from orchestrator.study import load_study
from orchestrator.study.names import find_name, loose, pair_names, read_names
from reports.figures import FIGURES, FigureSpec, Options
from reports.figures.classes import draw as draw_classes
from reports.figures.style import styled
from reports.paper.costs import cost_of_study
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.tables.ablation import build_table
from reports.tables.literature import build_literature
from reports.tables.provenance import trace

MakeResults = Callable[..., Results]

STARRED = """
study: starred
table: 5
rows:
  "1:1*": {model.attention: {global: 1, sparse-dense: 1}, model.interaction: none}
  "1:1": {model.attention: {global: 1, sparse-dense: 1}}
  "2:1": {model.attention: {global: 2, sparse-dense: 1}}
baseline: "1:1"
seeds: 2
"""
names = st.lists(st.text("aA1.:* -'†=", min_size=1, max_size=6), unique=True, max_size=6)


def write(folder: Path, text: str, name: str = "own") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


@given(names, names)
def test_pairs_are_one_to_one_and_equal_names_come_first(own: list[str], theirs: list[str]) -> None:
    pairs = pair_names(own, theirs)
    assert len(set(pairs.values())) == len(pairs)
    for name in own:
        if name in theirs:
            assert pairs[name] == name
        elif name in pairs:
            assert pairs[name] not in own
            alike = [other for other in {*own, *theirs} if loose(other) == loose(name)]
            assert sorted(alike) == sorted([name, pairs[name]])


@given(names, st.data())
def test_a_row_is_found_by_its_own_name_whatever_the_others_are(known: list[str], data: st.DataObject) -> None:
    for name in known:
        assert find_name(name, known) == name


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Head-Split Sparse-Dense", "head split  sparse dense"),
        ("FAR (MVD) ViT-S", "far mvd vit-s"),
        ("1:1", " 1 : 1 "),
        ("w/o Bottleneck", "W/O bottleneck"),
    ],
)
def test_spellings_of_one_name(a: str, b: str) -> None:
    assert pair_names([b], [a]) == {b: a}


@pytest.mark.parametrize(
    ("a", "b"),
    [("1:1", "1:1*"), ("FAR", "FAR'"), ("A", "A†"), ("x=1.0", "x=10"), ("lr=1e-3", "lr=1e3"), ("-1", "1"),
     ("A-", "A"), ("A+", "A"), ("n=1 0", "n=10"), ("#1", "1"), ("1/2", "12"), ("a,b", "ab"), ("5%", "5")],
)  # fmt: skip
def test_marks_tell_names_apart(a: str, b: str) -> None:
    assert not pair_names([a], [b])
    assert find_name(a, [b]) is None


def test_a_starred_row_keeps_its_name_and_gets_nothing_of_the_plain_one(
    make_results: MakeResults, tmp_path: Path
) -> None:
    results = make_results(write(tmp_path, STARRED))
    table = build_table(results)
    rows = {row.name: row for row in table.rows}
    assert list(rows) == ["1:1", "2:1", "1:1*"]
    assert [table.cell(row, table.columns[0]).text for row in table.rows] == list(rows)
    assert rows["1:1*"].data["paper"] is None and "paper_top1" not in rows["1:1*"].cells
    assert rows["1:1"].data["paper"] is not None
    assert table.title.startswith("Table 5.")
    text = trace([results], "1:1", "top1")
    assert "row 1:1," in text and "the paper prints 71.1 %" in text
    assert results.row("1:1").planned[0].key in text and results.row("1:1*").planned[0].key not in text
    assert "the paper prints" not in trace([results], "1:1*", "top1")
    for name in RENDERERS:
        assert "1:1" in RENDERERS[name]([table])


def test_a_starred_row_alone_is_not_the_papers(make_results: MakeResults, tmp_path: Path) -> None:
    only = STARRED.replace('  "1:1": {model.attention: {global: 1, sparse-dense: 1}}\n', "").replace('"1:1"', '"2:1"')
    results = make_results(write(tmp_path, only))
    assert {row.name: row.data["paper"] is None for row in build_table(results).rows} == {"2:1": False, "1:1*": True}
    costs = cost_of_study(load_study(tmp_path / "own.yaml", profile="demo"))
    assert {row.row: bool(row.paper) for row in costs.rows} == {"1:1*": False, "2:1": True}


def test_two_rows_spelled_like_the_papers_get_its_numbers_neither(make_results: MakeResults, tmp_path: Path) -> None:
    text = (
        "study: own\ntable: 4\nrows:\n"
        "  global mean: {model.classifier: global-mean}\n  GLOBAL-MEAN: {model.classifier: group-mean}\n"
    )
    table = build_table(make_results(write(tmp_path, text)))
    assert all(row.data["paper"] is None for row in table.rows)
    assert any("'global mean' and 'GLOBAL-MEAN'" in note.text for note in table.notes)


def test_a_name_that_may_be_two_rows_is_refused_with_both(make_results: MakeResults, tmp_path: Path) -> None:
    text = "study: own\nrows:\n  FAR: {}\n  far: {model.interaction: none}\n"
    results = make_results(write(tmp_path, text))
    assert results.row("far").planned[0].key in trace([results], "far", "top1")
    assert results.row("FAR").planned[0].key in trace([results], "FAR", "top1")
    for wanted in ("Far", "f a r"):
        with pytest.raises(ConfigError, match="'FAR' or 'far'"):
            trace([results], wanted, "top1")
        with pytest.raises(ConfigError, match="'FAR' or 'far'"):
            results.row(wanted)
        with pytest.raises(ConfigError, match="'FAR' or 'far'"):
            load_study(tmp_path / "own.yaml", profile="demo").row(wanted)


def test_the_study_that_has_the_very_name_is_explained(make_results: MakeResults, tmp_path: Path) -> None:
    own = make_results(write(tmp_path, "study: own\nrows:\n  '1 : 1': {}\n  b: {model.interaction: none}\n"))
    papers = make_results("head_ratio")
    text = trace([own, papers], "1:1", "top1")
    assert "Table 5, row 1:1" in text and "own, row" not in text


def test_rows_of_the_literature_are_matched_in_the_same_way(make_results: MakeResults, tmp_path: Path) -> None:
    text = (
        "study: own\ntable: 7\nrows:\n  FAR (MVD) ViT-S*: {}\n"
        "  far (mvd) vit-b: {model.interaction: none}\n  FAR (VideoMAE) ViT-S: {model.classifier: global-mean}\n"
    )
    table = build_literature(7, make_results(write(tmp_path, text)))
    measured = {row.name: row for row in table.rows if row.cells.get("n")}
    assert set(measured) == {"FAR (MVD) ViT-S*", "far (mvd) vit-b", "FAR (VideoMAE) ViT-S"}
    assert measured["FAR (MVD) ViT-S*"].group == "this study"
    assert measured["FAR (MVD) ViT-S*"].data["paper"] is None
    assert measured["far (mvd) vit-b"].cells["Method"].text == "far (mvd) vit-b"
    assert measured["far (mvd) vit-b"].data["paper"]["top1"] is not None  # type: ignore[index]


def test_title_and_header_of_ones_own_are_used_beside_a_table_number(make_results: MakeResults, tmp_path: Path) -> None:
    own = "study: own\ntitle: Mine\nrow_header: Variant\ntable: 5\nrows:\n  A: {}\n  B: {model.interaction: none}\n"
    table = build_table(make_results(write(tmp_path, own)))
    assert (table.title, table.columns[0].title) == ("Mine.", "Variant")
    assert not [column for column in table.columns if column.key.startswith("paper")]
    assert any("none of its rows is one of the paper's (1:1, 2:1, 1:2)" in note.text for note in table.notes)
    assert json.loads(RENDERERS["json"]([table]))["table"] == "own"
    some = own.replace("  A: {}", "  '2:1': {}")
    table = build_table(make_results(write(tmp_path, some)))
    assert (table.title, table.columns[0].title) == ("Table 5. Mine.", "Variant")
    assert [row.data["paper"] is not None for row in table.rows] == [True, False]
    plain = some.replace("title: Mine\nrow_header: Variant\n", "")
    table = build_table(make_results(write(tmp_path, plain)))
    assert table.columns[0].title == "Ratio (Global:Sparse-Dense)"
    assert table.title == "Table 5. Comparisons of head-split ratios."


def test_a_study_whose_name_is_a_number_is_no_table_of_the_paper(make_results: MakeResults, tmp_path: Path) -> None:
    table = build_table(make_results(write(tmp_path, "study: '5'\nrows:\n  A: {}\n  B: {model.interaction: none}\n")))
    assert table.title == "5."
    assert json.loads(RENDERERS["json"]([table]))["table"] == "5"


def test_rows_of_a_figure_are_found_like_all_others(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results(write(tmp_path, STARRED))
    with styled():
        drawing = draw_classes(results, Options(rows=("1:1", "1:1*")))
        assert drawing.title.startswith("1:1* minus 1:1, by class")
        assert drawing.caption.startswith("Top-1 of 1:1* minus that of 1:1,")
        for name in ("curves", "pareto", "order", "classes"):
            with pytest.raises(ConfigError, match="no row 'nonsense'"):
                FIGURES[name].draw(results, Options(rows=("1:1", "nonsense")))
        drawn = FIGURES["pareto"].draw(results, Options(rows=("1:1*",))).figure
        assert {text.get_text() for text in drawn.legends[0].get_texts()} == {"1:1*"}  # no front of one row


COMMAS = ["A", "B", "A,B", "3-stripe, lr=0.001", "SE (ours), lr=0.001", "lr=0.001"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("B,A", ["B", "A"]),
        ("3-stripe, lr=0.001,SE (ours), lr=0.001", ["3-stripe, lr=0.001", "SE (ours), lr=0.001"]),
        ("SE (ours), lr=0.001, A", ["SE (ours), lr=0.001", "A"]),
        ("lr=0.001,B", ["lr=0.001", "B"]),
        ("se (OURS), lr=0.001,b", ["SE (ours), lr=0.001", "B"]),
    ],
)
def test_names_with_commas_can_be_listed(text: str, rows: list[str]) -> None:
    assert read_names(text, COMMAS, what="row", key="--rows") == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A,B", "'A,B' or 'A'; 'B'"),
        ("A,nonsense", "no row 'nonsense'"),
        ("3-stripe", "no row '3-stripe'"),
        ("", "no row ''"),
        (",", "no row ''"),
        ("A,", "no row ''"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_names(text, COMMAS, what="row", key="--rows")


@given(st.lists(st.text("ab,x ", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=5, unique=True))
def test_every_list_of_names_is_read_or_refused_as_unclear(known: list[str]) -> None:
    try:
        assert read_names(",".join(known), known, what="row", key="--rows") == known
    except ConfigError as error:
        assert "may mean" in str(error)


def test_figures_take_rows_whose_names_have_commas(
    make_results: MakeResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "study: own\nrows:\n  'A, wide': {}\n  'B, wide': {model.interaction: none}\n  wide: {}\n"
    results = make_results(write(tmp_path, text))
    seen: list[tuple[str, ...]] = []

    def draw(results: Results, options: Options) -> object:
        seen.append(options.rows)
        return FIGURES["pareto"].draw(results, options)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reports.selection.Selection.read_one", lambda _: results)
    monkeypatch.setitem(FIGURES._entries, "curves", FigureSpec(draw, "x"))  # type: ignore[arg-type]
    for asked in (
        ["--rows", "A, wide,B, wide"],
        ["--row", "A, wide", "-r", "B, wide"],
        ["--rows", "a, wide , b, wide"],
    ):
        assert farlab.run(["figure", "curves", "own.yaml", *asked, "-o", "f.png"]) == 0
    assert seen == [("A, wide", "B, wide")] * 3
    for wrong in (["--row", "nonsense"], ["--row", "A, wide", "--rows", "wide"], ["--rows", "A"]):
        assert farlab.run(["figure", "curves", "own.yaml", *wrong]) == 2
        assert "row" in capsys.readouterr().err
    assert farlab.run(["figure", "patterns", "--row", "nonsense"]) == 2
    assert farlab.run(["figure", "patterns", "--rows", "global,nonsense"]) == 2
    assert "no attention pattern 'nonsense'" in capsys.readouterr().err
