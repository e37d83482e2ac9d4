"""Rows of other works: shown as what they are in every format, with their source, and part of nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import farlab
from far.errors import ConfigError, DataError
from orchestrator.plan.lockfile import load_lockfile
from orchestrator.plan.plan import make_plan
from orchestrator.store.store import Store
from orchestrator.study import load_study
from reports.analysis.comparison import compare_rows
from reports.figures import FIGURES, Options
from reports.figures.style import styled
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.tables.provenance import trace
from reports.tables.registry import build_all
from reports.verification.check import verify
from reports.verification.record import sealed

MakeResults = Callable[..., Results]
STUDY = "study: own\nrows:\n  A: {}\n  B: {model.interaction: none}\nseeds: 2\n"
QUOTED: dict[str, dict[str, Any]] = {
    "VideoMAE": {"top1": 96.85, "top5": 98.3, "flops": 57, "params": 22, "source": "Tong et al., 2022",
                 "cite": "tong2022videomae", "url": "https://arxiv.org/abs/2203.12602", "setting": "SSv2, 2 × 3 views"},
    "γ_Net": {"top1": 70.0, "url": "https://example.org/a_b", "setting": "SSv2"},
}  # fmt: skip


def written(folder: Path, quoted: Mapping[str, Any], study: str = STUDY) -> Path:
    path = folder / "own.yaml"
    stream = io.StringIO()
    YAML(typ="safe").dump({"quoted": dict(quoted)}, stream)
    path.write_text(study + stream.getvalue())
    return path


def test_every_format_shows_the_numbers_with_their_source(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results(written(tmp_path, QUOTED))
    tables = build_all([], [results])
    file = tmp_path / "t"
    for name in RENDERERS:
        text = RENDERERS[name](tables)
        assert "VideoMAE" in text and "96.85" in text and "tong2022videomae" in text and "2203" in text, name
        assert "SSv2, 2" in text and "uoted" in text, name
        if name != "term":
            suffix = {"latex": ".tex"}.get(name, f".{name}")
            file.with_suffix(suffix).write_text(sealed(text, name, tables))
            assert not verify(file.with_suffix(suffix), tmp_path / "runs")[0].findings, name
            file.with_suffix(suffix).write_text(sealed(text, name, tables).replace("96.85", "86.85", 1))
            assert verify(file.with_suffix(suffix), tmp_path / "runs")[0].findings, name
    assert r"VideoMAE~\cite{tong2022videomae}" in RENDERERS["latex"](tables)
    assert r"$\gamma$\_Net" in RENDERERS["latex"](tables)
    assert '<a href="https://arxiv.org/abs/2203.12602"' in RENDERERS["html"](tables)
    lines = [line for line in csv.DictReader(io.StringIO(RENDERERS["csv"](tables))) if line["row"] == "VideoMAE"]
    assert {line["metric"]: line["mean"] for line in lines}["quoted_top1"] == "96.85"
    assert {line["origin"] for line in lines} == {"quoted"} and all("Tong" in line["text"] for line in lines)
    row = json.loads(RENDERERS["json"](tables))["rows"][2]
    assert row["quoted"] == {**QUOTED["VideoMAE"], "flops": 57.0, "params": 22.0}
    assert row["metrics"]["top1"]["n"] == 0 and row["delta"] is None


def test_a_quoted_row_is_in_no_average_comparison_or_count(make_results: MakeResults, tmp_path: Path) -> None:
    plain = build_all([], [make_results(written(tmp_path, {}))])[0]
    results = make_results(written(tmp_path, QUOTED))
    table = build_all([], [results])[0]
    for row, same in zip(table.rows, plain.rows, strict=False):
        assert (row.name, row.data, dict(row.cells)) == (same.name, same.data, dict(same.cells))
    quoted = table.rows[2]
    assert not any(cell.best or cell.stars for cell in quoted.cells.values())
    assert not table.unfinished
    comparison = compare_rows(results)
    assert comparison is not None and all("VideoMAE" not in pair for pair in comparison.differences)
    assert [row.name for row in results.rows] == ["A", "B"]


def test_its_numbers_come_along_with_the_columns_that_are_chosen(make_results: MakeResults, tmp_path: Path) -> None:
    table = build_all([], [make_results(written(tmp_path, QUOTED))], columns=("top1",))[0]
    assert [column.key for column in table.columns] == ["row", "top1", "quoted_top1"]
    assert [row.cells["quoted_top1"].text for row in table.rows[2:]] == ["96.85", "70.0"]


def test_it_is_drawn_only_where_it_is_asked_for(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results(written(tmp_path, QUOTED))
    with styled():
        for options, shown in ((Options(), False), (Options(quoted=True), True)):
            axis = FIGURES["pareto"].draw(results, options).figure.axes[0]
            assert any("VideoMAE" in str(line.get_label()) for line in axis.lines) == shown
        with pytest.raises(DataError, match="no quoted row"):
            FIGURES["pareto"].draw(make_results(written(tmp_path, {})), Options(quoted=True))


def test_explained_it_says_whose_it_is(make_results: MakeResults, tmp_path: Path) -> None:
    text = trace([make_results(written(tmp_path, QUOTED))], "VideoMAE", "top1")
    assert "nothing of it was run here" in text and "Tong et al., 2022 [tong2022videomae]" in text


def test_no_key_and_no_trial_changes_and_a_submission_keeps_it(make_results: MakeResults, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    keys = [
        [trial.key for trial in make_plan(load_study(path), store, manifest_hash=lambda data: "d" * 16).trials]
        for path in (written(tmp_path, {}), written(tmp_path, QUOTED))
    ]
    assert keys[0] == keys[1] and len(keys[0]) == 4
    make_results(written(tmp_path, QUOTED))
    frozen = load_lockfile(store.study("own").lockfile("demo"))
    assert dict(frozen.quoted) == load_study(tmp_path / "own.yaml").quoted


def test_beside_the_literature(make_results: MakeResults, tmp_path: Path) -> None:
    study = "study: own\ntable: 7\nrows:\n  FAR (MVD) ViT-S: {}\n  FAR (MVD) ViT-B: {model.interaction: none}\n"
    table = build_all([], [make_results(written(tmp_path, QUOTED, study))])[0]
    assert [row.group for row in table.rows[-2:]] == ["quoted", "quoted"]
    assert table.rows[-2].cells["Method"].text == "VideoMAE"
    assert all("96.85" in RENDERERS[name]([table]) for name in RENDERERS)


@pytest.mark.parametrize(
    ("changes", "line", "said"),
    [
        ({"top1": 101}, 8, "quoted.X.top1"),
        ({"top1": -1}, 8, "quoted.X.top1"),
        ({"flops": 0}, 9, "quoted.X.flops"),
        ({"top1": "high"}, 8, "a number"),
        ({"top1": None, "flops": None}, 7, "quotes no number"),
        ({"cite": None}, 7, "has no source"),
        ({"cite": "a b"}, 10, "a citation key"),
        ({"cite": "}{"}, 10, "a citation key"),
        ({"url": "arxiv.org/abs/1"}, 12, "https://"),
        ({"url": "javascript:alert(1)"}, 12, "https://"),
        ({"setting": None}, 7, "setting"),
        ({"setting": " "}, 11, "text on one line"),
        ({"top": 3}, 12, "unknown key 'top'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    changes: dict[str, Any], line: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    row = {"top1": 66.8, "flops": 57, "cite": "tong2022", "setting": "SSv2", **changes}
    body = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in row.items() if value is not None)
    (tmp_path / "own.yaml").write_text(f"{STUDY}quoted:\n  X:\n{body}")
    monkeypatch.chdir(tmp_path)
    for command in ("validate", "plan"):
        assert farlab.run([command, "own.yaml"]) == 2
        error = capsys.readouterr().err
        assert f"own.yaml:{line}:" in error and said in error, error


def test_the_name_of_a_row_that_is_trained_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"own.yaml:7: quoted.B: a row of the study is called 'B' too"):
        load_study(written(tmp_path, {"B": QUOTED["VideoMAE"]}))
    with pytest.raises(ConfigError, match="'Placebo' too"):
        load_study(written(tmp_path, {"Placebo": QUOTED["VideoMAE"]}, f"{STUDY}placebo: true\n"))
    with pytest.raises(ConfigError, match="this study only searches"):
        search = "study: own\nsearch: {space: {recipe.lr: {choices: [0.1, 0.2]}}}\n"
        load_study(written(tmp_path, QUOTED, search))
