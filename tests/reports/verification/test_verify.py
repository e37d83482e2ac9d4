"""Verifying tables: what was written is as its trials say, and whatever was changed since is found."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import farlab
from benchmarks.mutations import SUFFIXES, inside, stores, survey
from benchmarks.report_speed import STUDY, predictions
from far.errors import ConfigError
from far.store.atomic import read_json, write_json
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from reports.renderers import RENDERERS
from reports.results.collect import collect
from reports.results.state import State
from reports.tables.model import Cell, Column, Note, Origin, Row, Table
from reports.tables.registry import build_all
from reports.verification.check import verify
from reports.verification.printed import READERS
from reports.verification.record import DIGEST, digest_of, sealed, short
from reports.verification.verdict import Kind

VIDEOS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    return stores(tmp_path_factory.mktemp("verify"), VIDEOS)


def kinds(path: Path, store: Path) -> set[Kind]:
    return {finding.kind for verdict in verify(path, store) for finding in verdict.findings}


def texts(path: Path, store: Path) -> str:
    return "\n".join(str(finding) for verdict in verify(path, store) for finding in verdict.findings)


def test_changes_are_caught_and_what_was_written_is_not(world, tmp_path: Path) -> None:
    found = survey(tmp_path, 25, 0, world)  # each kind in each format
    assert found["missed"] == []
    assert found["alarms"] == []
    assert all(found["caught"].values())


def test_the_cell_that_was_changed_is_named_with_what_its_trials_give(world, tmp_path: Path) -> None:
    workspace, now, _, _ = world
    printed = READERS["md"](now["md"]).tables[0].rows["Temporal"]["Top-1 (%)"]
    file = tmp_path / "t.md"
    file.write_text(now["md"].replace(printed, "99.9 ± 0.1"))
    said = texts(file, workspace / "runs")
    assert f"edited: row 'Temporal', Top-1 (%): '99.9 ± 0.1', and its trials give '{printed}'" in said
    assert said.count("\n") == 0


def test_whoever_forges_the_record_too_is_found_out_by_the_predictions(world, tmp_path: Path) -> None:
    workspace, now, _, _ = world
    tables = json.loads(now["json"])
    row = tables["rows"][0]
    row["metrics"]["top1"]["mean"] += 1.5
    record = tables["farlab"]
    printed = READERS["json"](json.dumps(tables)).tables[0]
    record["rows"][row["row"]] = short(printed.rows[row["row"]])
    record[DIGEST] = digest_of(record)
    file = tmp_path / "t.json"
    file.write_text(json.dumps(tables))
    assert kinds(file, workspace / "runs") == {Kind.WRONG}
    assert f"row '{row['row']}', metrics.top1.mean" in texts(file, workspace / "runs")


@pytest.mark.parametrize(
    ("format_", "before", "after", "said"),
    [
        ("md", "### ", "### Our ", "title"),
        ("md", "> Profile demo", "> Profile ssv2", "title"),
        ("md", "- Mean ± sample", "- Mean ± standard", "under the table"),
        ("md", "Top-1 (%)", "Top-2 (%)", "headings"),
        ("latex", "Profile demo: a small model", "A large model", "title"),
        ("html", "<body>", "<body><p>All rows differ.</p>", "outside of its tables"),
        ("csv", "table,row,metric,mean,", "table,row,metric,median,", "headings"),
        ("csv", ",top1,", ",top2,", "row 'Global'"),
        ("json", '"comparable": false', '"comparable": true', "title"),
    ],
)
def test_words_around_the_numbers_count(
    world, tmp_path: Path, format_: str, before: str, after: str, said: str
) -> None:
    workspace, now, _, _ = world
    assert before in now[format_]
    file = tmp_path / f"t{SUFFIXES[format_]}"
    file.write_text(now[format_].replace(before, after, 1))
    assert said in texts(file, workspace / "runs")


def test_a_table_of_chosen_columns_is_made_again_with_these(world, tmp_path: Path) -> None:
    workspace, now, _, _ = world
    with inside(workspace):
        chosen = ("top1", "flops", "delta_top1")
        tables = build_all([], collect([STUDY], seeds=3, store=workspace / "runs"), columns=chosen)
    for name, suffix in SUFFIXES.items():
        file = tmp_path / f"t{suffix}"
        file.write_text(sealed(RENDERERS[name](tables), name, tables))
        verdict = verify(file, workspace / "runs")[0]
        assert not verdict.findings and verdict.compared >= 18
        assert len(file.read_text()) < len(now[name])
        row = READERS[name](now[name]).tables[0].rows["Temporal"]
        cell = next(row[key] for key in ("Top-1 (%)", r"Top-1 (\%)", "top1 mean", "metrics.top1.mean") if key in row)
        shown = re.findall(r"\d+\.\d+", cell)[-1]
        file.write_text(file.read_text().replace(shown, f"1{shown}", 1))
        assert kinds(file, workspace / "runs") == {Kind.EDITED}


def test_a_csv_file_with_a_line_for_each_row_is_told_from_what_is_written_now(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("table,profile,row,top1,top1_std,top1_n\n5,demo,1:1,62.25,0.5,2\n")
    with pytest.raises(ConfigError, match="a line for each row, as FARLab 0"):
        verify(file, tmp_path)


def test_another_layout_of_the_same_table_is_no_edit(world, tmp_path: Path) -> None:
    workspace, now, _, _ = world
    file = tmp_path / "paper.tex"
    table = now["latex"].replace("{8pt}{9.6pt}", "{9pt}{11pt}").replace("{3pt}", "{5pt}").replace(" & ", "  &\t")
    file.write_text("\\documentclass{article}\n\\begin{document}\nWe see 99.9.\n" + table + "\n\\end{document}\n")
    assert kinds(file, workspace / "runs") == set()
    file = tmp_path / "notes.md"
    file.write_text("# Draft\n\nWe see 99.9.\n\n" + now["md"] + "\nMore text.\n\n| a |\n|---|\n| b |\n")
    assert texts(file, workspace / "runs").count("no record of its trials") == 1


def test_a_table_without_its_record_is_untraceable(world, tmp_path: Path) -> None:
    workspace, now, _, _ = world
    file = tmp_path / "t.tex"
    file.write_text("".join(line for line in now["latex"].splitlines(True) if not line.startswith("% farlab: ")))
    assert kinds(file, workspace / "runs") == {Kind.UNTRACEABLE}
    file.write_text(now["latex"].replace('"trials":', '"trails":', 1))
    assert Kind.EDITED in kinds(file, workspace / "runs")


def test_trials_that_are_not_here_or_were_trained_again_are_named(tmp_path: Path) -> None:
    workspace, now, _, _ = stores(tmp_path, VIDEOS)
    store = Store(workspace / "runs")
    file = tmp_path / "t.csv"
    file.write_text(now["csv"])
    first, second, third = sorted(store.keys())[:3]
    scores, packed, top1, top5 = predictions(np.random.default_rng(9), VIDEOS)
    store.paths(first).predictions.write_bytes(scores)
    result = read_json(store.paths(first).result)
    write_json(store.paths(first).result, {**result, "answers": packed, "metrics": {"top1": top1, "top5": top5}})
    store.paths(second).predictions.unlink()
    store.paths(third).result.unlink()
    found = texts(file, store.root)
    assert f"stale: trial {first}" in found
    assert f"untraceable: the predictions of trial {second}" in found
    assert third in found


def test_a_result_that_its_predictions_contradict_is_told(tmp_path: Path) -> None:
    workspace, now, _, _ = stores(tmp_path, VIDEOS)
    store = Store(workspace / "runs")
    key = sorted(store.keys())[0]
    path = store.paths(key).predictions
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "label", [[(label.as_py() + 1) % 10 for label in table["label"]]]), path)
    file = tmp_path / "t.html"
    file.write_text(now["html"])
    found = texts(file, store.root)
    assert f"trial {key}" in found
    assert "its predictions give" in found


def test_a_study_submitted_again_makes_its_tables_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _, _, _ = stores(tmp_path, VIDEOS)
    monkeypatch.chdir(workspace)
    store = Store(workspace / "runs")

    def submit(seeds: int, *overrides: str) -> None:
        study = load_study("attention_pattern", seeds=seeds, overrides=overrides)
        write_lockfile(make_plan(study, store, manifest_hash=lambda data: "d" * 64), store)

    submit(3)
    assert farlab.run(["report", "attention_pattern", "--seeds", "3", "-o", "t.md"]) == 0
    assert farlab.run(["verify", "t.md"]) == 0
    submit(4)
    assert farlab.run(["verify", "t.md"]) == 3
    assert "row 'Global' has more seeds now: 3" in capsys.readouterr().out
    submit(3, "recipe.lr=0.01")
    assert "row 'Global' has other trials in the study as it was submitted since" in texts(Path("t.md"), store.root)


def test_the_commands_exit_codes(
    world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, now, _, _ = world
    monkeypatch.chdir(workspace)
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(now["csv"])
    bad.write_text(now["csv"].replace(",3,", ",5,", 1))
    assert farlab.run(["verify", str(good)]) == 0
    assert farlab.run(["verify", str(good), str(bad)]) == 3
    capsys.readouterr()
    assert farlab.run(["verify", "--json", str(bad)]) == 3
    plain = json.loads(capsys.readouterr().out)
    assert plain[str(bad)][0]["findings"][0]["kind"] == "edited"


@pytest.mark.parametrize(("name", "content"), [("t.pdf", "x"), ("t.json", "{"), ("t.json", "[1]"), ("t.md", "nothing")])
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(ConfigError):
        verify(file, tmp_path)
    with pytest.raises(ConfigError):
        verify(tmp_path / f"missing-{name}", tmp_path)


def test_tables_of_the_paper_alone_are_made_again_without_trials(tmp_path: Path) -> None:
    tables = build_all([1, 7], [])
    for name, suffix in SUFFIXES.items():
        file = tmp_path / f"t{suffix}"
        text = sealed(RENDERERS[name](tables), name, tables)
        file.write_text(text)
        assert texts(file, tmp_path) == ""
        file.write_text(text.replace("70.6", "71.6", 1))
        assert kinds(file, tmp_path) == {Kind.EDITED}


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), NAMES, NAMES)
def test_whatever_rows_and_notes_are_called_a_table_is_read_as_it_was_written(
    tmp_path: Path, rows: Sequence[str], note: str, caption: str
) -> None:
    columns = (Column("row", "Row", Origin.LABEL), Column("top1", "Top-1 (%)"))
    laid = [Row(name, {"row": Cell(name), "top1": Cell(12.5, marks=("a",))}, State.FINISHED) for name in rows]
    laid = [Row(r.name, r.cells, r.state, data={"row": r.name, "top1": 12.5}) for r in laid]
    table = Table("s", caption, columns, tuple(laid), notes=(Note(note), Note(note, "a")))
    for name in SUFFIXES:
        tables = [table, replace(table, anchor="s-2")]
        style = {"engine": "lualatex"} if name == "latex" else {}  # which sets any character
        text = sealed(RENDERERS[name](tables, **style), name, tables, style)
        for printed in READERS[name](text).tables:
            assert printed.record is not None
            record = json.loads(printed.record)
            assert record[DIGEST] == digest_of(record)
            assert record["rows"] == {each: short(values) for each, values in printed.rows.items()}
            assert len(printed.rows) == len(rows)
            assert record["notes"] == [short(each) for each in printed.notes]
