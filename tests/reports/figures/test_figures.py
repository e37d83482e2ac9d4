"""Figures: drawn from definitions and results, written as real pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from far.data.sources.manifest import make_manifest, write_manifest
from far.errors import ConfigError, DataError
from far.evaluate.frame_order import ORDERS
from reports.figures import FIGURES, Options
from reports.figures.class_names import class_names, find_class
from reports.figures.classes import answered, by_class
from reports.figures.pareto import front
from reports.figures.patterns import GRID, attended_by
from reports.figures.style import save, styled
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord

MakeResults = Callable[..., Results]


def test_patterns_are_those_of_the_model() -> None:
    query = (0, 3, 3)
    assert attended_by("global", query).all()
    temporal = attended_by("temporal", query)
    assert temporal.sum() == GRID[0]
    assert temporal[:, 3, 3].all()
    board = attended_by("sparse-dense", query)
    assert board[0, 3, 3] and not board[0, 3, 4] and board[1, 4, 4]


@pytest.mark.parametrize("name", ["pareto", "curves", "classes"])
@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_figures_are_written(name: str, kind: str, make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results("head_ratio", {"1:1": 0.7, "2:1": 0.6, "1:2": 0.5})
    path = tmp_path / f"f.{kind}"
    with styled():
        save(FIGURES[name].draw(results, Options()).figure, path)
    if kind == "pdf":
        assert path.read_bytes().startswith(b"%PDF")
    else:
        assert np.ptp(image.imread(path)[..., :3]) > 0.5  # something is drawn


def test_equal_results_give_equal_files(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results("head_ratio")
    for name in ("a.pdf", "b.pdf"):
        with styled():
            save(FIGURES["pareto"].draw(results, Options()).figure, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_the_pareto_front_has_what_nothing_beats() -> None:
    points = [(1.0, 50.0), (2.0, 70.0), (2.0, 60.0), (3.0, 65.0), (4.0, 71.0)]
    assert front(points) == [0, 1, 4]


def test_accuracy_by_class_averages_to_the_whole(make_results: MakeResults) -> None:
    results = make_results("head_ratio")
    row = results.row("1:1")
    labels, nobody = answered(results)
    assert nobody == 0
    per_class = by_class(row, labels)
    assert per_class.shape == (2, 8)
    np.testing.assert_allclose(per_class.mean(axis=1), [t.metric("top1") for t in row.finished], atol=1e-9)


def test_unanswered_videos_are_wrong_in_their_class(make_results: MakeResults) -> None:
    """Class 3 of eight holds videos 3, 11, ...; one trial lacks all but the last, and nobody answers video 0."""
    third = [*range(3, 195, 8), 0]
    changes = {(row, seed): {"unanswered": [0]} for row in ("1:1", "2:1", "1:2") for seed in (0, 1)}
    results = make_results("head_ratio", {"1:1": 0.9}, changes={**changes, ("1:1", 0): {"unanswered": third}})
    labels, nobody = answered(results)
    assert (len(labels), nobody) == (199, 1)
    row = results.row("1:1")
    per_class = by_class(row, labels)
    assert per_class[0, 3] <= 100 / 25
    counts = np.bincount(list(labels.values()))
    top1 = [t.metric("top1") for t in row.finished]
    np.testing.assert_allclose(per_class @ counts / 200, top1, atol=1e-9)
    with styled():
        drawing = FIGURES["classes"].draw(results, Options())
    assert "without 1 video that no trial answered" in drawing.title
    assert "without 1 video that no trial answered" in drawing.caption


def test_every_point_of_a_curve_says_how_many_seeds_it_has(make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=3)
    short = results.row("2:1").planned[0].directory
    assert short is not None
    lines = (short / "metrics.jsonl").read_text().splitlines(keepends=True)
    (short / "metrics.jsonl").write_text("".join(lines[:1]))
    with styled():
        drawing = FIGURES["curves"].draw(results, Options())
    said = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert said == ["1:1 (3 seeds)", "2:1 (3 seeds to epoch 1, then 2)", "1:2 (3 seeds)"]
    hollow = [line for line in drawing.figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[], [2, 3], []]


def test_a_legend_has_what_is_drawn_and_covers_no_axes(make_results: MakeResults) -> None:
    accuracies = {"1:1": 0.7, "2:1": 0.6, "1:2": 0.5}
    with styled():
        drawings = [
            FIGURES[name].draw(make_results("head_ratio", accuracies), Options()) for name in ("pareto", "curves")
        ]
        for drawing in drawings:
            drawing.figure.draw_without_rendering()
            legend = drawing.figure.legends[0].get_window_extent()
            assert not any(legend.overlaps(axis.get_tightbbox()) for axis in drawing.figure.axes)
    assert [text.get_text() for text in drawings[0].figure.legends[0].get_texts()] == ["1:1", "2:1", "1:2"]
    assert "front" not in drawings[0].caption


def test_figures_are_described_in_words(make_results: MakeResults) -> None:
    results = make_results("head_ratio", {"1:1": 0.7, "2:1": 0.6, "1:2": 0.5}, seeds=1)
    with styled():
        alts = {name: FIGURES[name].draw(results, Options()).alt for name in ("pareto", "classes", "curves")}
        best = results.row("1:1").finished[0].metric("top1")
        assert f"1:1 {best:.1f} % at 0.1235 G" in alts["pareto"]
        assert alts["classes"].startswith("2:1 against 1:1 by class: higher in ")
        assert "1:1 20.0 % after epoch 3" in alts["curves"]
        patterns = FIGURES["patterns"].draw(None, Options())
    assert [text.get_text() for text in patterns.figure.legends[0].get_texts()] == [
        "query", "attended to", "not attended to",
    ]  # fmt: skip
    assert not any(side.get_visible() for axis in patterns.figure.axes for side in axis.spines.values())


def test_classes_bear_the_names_that_the_data_set_gives_them(tmp_path: Path) -> None:
    names = ["Push up", "Twisting something", "2", *(f"Putting {i} things onto a table" for i in range(15))]
    folder = tmp_path / "own"
    folder.mkdir()
    manifest = make_manifest([], names, media_root=folder, source="folders", directory=folder)
    write_manifest(manifest)
    trained_on = {"data": {"content": manifest.content_hash}}
    trial = TrialRecord("a", 0, "k", State.FINISHED, directory=tmp_path / "k", identity=trained_on)
    trial.__dict__["config"] = {"data": {"source": "own"}}
    before = replace(trial, identity={"data": {"content": "of what lay there before"}})
    before.__dict__["config"] = trial.config
    assert class_names([before], 18, tmp_path)[1] == "class 1"
    assert class_names([trial], 18, tmp_path) == names
    assert class_names([trial], 19, tmp_path)[7] == "class 7"  # of another data set
    assert class_names([trial], 18, tmp_path / "elsewhere")[1] == "class 1"
    assert find_class("twisting SOMETHING", names) == 1
    assert (find_class("17", names), find_class("2", names)) == (17, 2)
    with pytest.raises(ConfigError, match="Did you mean 'Twisting something'"):
        find_class("Twisting somthing", names)
    with pytest.raises(ConfigError, match=r"classes are 0 to 17, or their names.*Putting 3 things"):
        find_class("putting", names)
    with pytest.raises(ConfigError, match="no class '18'"):
        find_class("18", names)


def test_what_cannot_be_drawn_says_why(make_results: MakeResults, tmp_path: Path) -> None:
    nothing = make_results("head_ratio", skip={(r, s) for r in ("1:1", "2:1", "1:2") for s in (0, 1)})
    for name in ("pareto", "curves", "classes", "order"):
        with pytest.raises(DataError):
            FIGURES[name].draw(nothing, Options())
    results = make_results("head_ratio")
    with pytest.raises(ConfigError, match=r"\.png"), styled():
        save(FIGURES["pareto"].draw(results, Options()).figure, tmp_path / "f.gif")
    with pytest.raises(ConfigError, match="no row '3:1'"):
        FIGURES["classes"].draw(results, Options(rows=("1:1", "3:1")))


@pytest.mark.parametrize("top1", [5, {}, {"natural": 1.0}, dict.fromkeys(ORDERS, "x"), dict.fromkeys(ORDERS)])
def test_orders_of_frames_name_the_trials_that_they_lack(make_results: MakeResults, top1: object) -> None:
    results = make_results("head_ratio")
    for trial, said in zip(results.row("1:1").finished, (dict.fromkeys(ORDERS, 50.0), top1), strict=True):
        assert trial.directory is not None
        measured = {"finished_at": trial.result["finished_at"], "top1": said}
        (trial.directory / "order.json").write_text(json.dumps(measured))
    drawing = FIGURES["order"].draw(results, Options(rows=("1:1",)))
    assert "mean over 1 seed. Not measured: 1:1 seed 1; " in drawing.caption
    assert "holds no complete checkpoint" in drawing.caption


def test_names_are_drawn_without_control_characters_and_without_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    from matplotlib.figure import Figure

    from reports.figures.style import save

    figure = Figure()
    figure.subplots().set_title("a\x1b[31m \u4e2d")
    save(figure, tmp_path / "t.svg")
    assert "\\u001b[31m" in figure.axes[0].get_title()
    assert capsys.readouterr().err == "note: the font of figures lacks \u4e2d: drawn as boxes\n"
    assert not [each for each in recwarn if "Glyph" in str(each.message)]
