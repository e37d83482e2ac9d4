"""What a reviewer needs: keys, values, configurations and accounts on a page that is passed on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from far.errors import ConfigError
from reports.figures import FIGURES, FigureSpec, Options
from reports.figures.style import save, styled
from reports.page.build import build_page
from reports.results.results import Results
from reports.shown import can_be_opened_elsewhere, without_places
from reports.tables.ablation import build_table
from reports.tables.provenance import trace
from reports.tables.registry import build_all
from tests.reports.conftest import with_trials

MakeResults = Callable[..., Results]


def page_of(*results: Results, options: Options | None = None) -> str:
    return build_page(build_all([], results), results, options or Options())


def linked(results: Results, address: str) -> Results:
    return with_trials(results, lambda t: replace(t, link=f"{address}/#/experiments/1/runs/{t.key}"))


def test_the_page_prints_every_trial_with_its_key_and_values(
    make_results: MakeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.page.build.FIGURES", ())
    results = make_results("head_ratio", seeds=2, accuracies={"1:1": 0.655, "2:1": 0.6, "1:2": 0.5})
    text = re.sub(r'\s(title|alt)="[^"]*"', "", page_of(results))  # what only a mouse finds does not print
    for trial in (t for row in results.rows for t in row.planned):
        cells = text[text.index(f"<code>{trial.key}</code>") :].split("</tr>")[0]
        assert f">{trial.metric('top1'):.6g}<" in cells
        assert "200/200" in cells and "abc1234" in cells


def test_the_page_prints_the_configuration_of_every_row(
    make_results: MakeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.page.build.FIGURES", ())
    results = make_results("head_ratio", overrides=["recipe.epochs=3"])
    text = page_of(results).replace("&#34;", '"')
    assert '<dt>2:1</dt><dd><code>model.attention={"global": 2, "sparse-dense": 1}</code></dd>' in text
    assert "<code>recipe.epochs=3</code>" in text
    assert "<code>model.width=" in text and "<code>data.demo.val_clips=" in text


@pytest.mark.parametrize(
    ("address", "opens"),
    [
        ("http://127.0.0.1:5000", False),
        ("http://localhost:5000", False),
        ("http://[::1]:5000", False),
        ("http://0.0.0.0:80", False),
        ("https://mlflow.example.org", True),
        ("http://10.0.0.7:5000", True),
        ("sqlite:///x.db", False),
        ("http://[bad", False),
    ],
)
def test_which_addresses_others_can_open(address: str, opens: bool) -> None:
    assert can_be_opened_elsewhere(address) is opens


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "https://mlflow.example.org"])
def test_links_are_those_that_a_reader_can_open(
    make_results: MakeResults, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.page.build.FIGURES", ())
    found = re.findall(r'href="(?!#)([^"]*)"', page_of(linked(make_results("head_ratio", seeds=1), address)))
    assert bool(found) is can_be_opened_elsewhere(address)
    assert all(link.startswith(address) for link in found)


def test_no_folder_of_the_author_is_on_the_page(
    make_results: MakeResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies").mkdir()
    own = tmp_path / "studies" / "own.yaml"
    own.write_text("study: own\nrows:\n  A: {}\n  B: {model.interaction: none}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reports.page.build.FIGURES", ())
    results = make_results(own, seeds=1)
    broken = {"state": "failed", "error": {"kind": "data", "message": f"{tmp_path}/data/x.mp4: broken"}}
    shipped = make_results("head_ratio", changes={("2:1", 0): broken})
    problems = [f"{Path.home()}/clips is gone", f"the data set is not under {tmp_path}/data/of/something/long"]
    elsewhere = replace(results, study="other", problems=problems, store=tmp_path / "runs")
    text = page_of(results, shipped, elsewhere, options=Options(data_root=tmp_path / "data"))
    assert str(tmp_path) not in text.replace("<wbr>", "") and str(Path.home()) not in text.replace("<wbr>", "")
    assert "site-packages" not in text and str(Path(__file__).parents[2]) not in text
    assert "farlab sweep head_ratio" in text and "farlab sweep studies/own.yaml" in text
    assert "data/x.mp4: broken" in text and "~/clips is gone" in text


def test_places_are_cut_off_where_they_begin_a_path_and_nowhere_else() -> None:
    roots = [("/home/a", "~"), ("/home/a/work", "")]
    assert without_places("/home/a/work/x /home/a/work; /home/a/workshop /home/ab /x/home/a/y", roots) == (
        "x .; ~/workshop /home/ab /x/home/a/y"
    )
    broken = "/|home/|a/|work/|x /|home/|a/|work; /|home/|a/|work|shop /|home/|a|b"
    assert without_places(broken, roots, "|") == "|x .; ~/|work|shop /|home/|a|b"


DOLLARS = (
    "study: dollars\ntitle: '5$ #1 vs $x_$'\nrows:\n  '$\\bm{W}$ tied': {}\n  '5$ vs 10$': {model.interaction: none}\n"
    "  _plain: {model.classifier: global-mean}\n  '$\\frac{': {model.attention: {global: 1}}\n"
)


def test_names_are_words_not_tex_in_every_figure(
    make_results: MakeResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "dollars.yaml"
    study.write_text(DOLLARS)
    results = make_results(study)
    names = [row.name for row in results.rows]
    monkeypatch.setattr("reports.figures.classes.class_names", lambda _, count, root: ["$x_$ tot$"] * count)
    monkeypatch.setattr(
        "reports.figures.order.sensitivity", lambda *_: dict.fromkeys(("natural", "reversed", "shuffled"), 5.0)
    )
    for name in ("pareto", "curves", "classes", "order"):
        with styled():
            figure = FIGURES[name].draw(results, Options()).figure
            save(figure, tmp_path / f"{name}.pdf")
        if name in ("pareto", "curves"):
            said = [text.get_text().strip() for text in figure.legends[0].get_texts()]
            assert all(any(text.startswith(row) for text in said) for row in names)
    assert "could not be drawn" not in page_of(results)


def test_a_figure_that_fails_does_not_take_the_page_down(
    make_results: MakeResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(results: object, options: object) -> None:
        raise ZeroDivisionError("nothing here")

    monkeypatch.setitem(FIGURES._entries, "curves", FigureSpec(fails, "Learning curves"))  # type: ignore[arg-type]
    text = page_of(make_results("head_ratio"))
    assert "Not drawn: Learning curves (could not be drawn (ZeroDivisionError: nothing here))." in text
    assert text.count("data:image/svg") == 2


@pytest.mark.parametrize("name", ["delta", "Δ", "delta_top1"])
def test_a_difference_is_explained_pair_by_pair(make_results: MakeResults, name: str) -> None:
    accuracies = {"1:1": 0.6, "2:1": 0.7, "1:2": 0.5}
    results = make_results("head_ratio", seeds=3, accuracies=accuracies, skip={("2:1", 1)})
    text = trace([results], "2:1", name)
    delta = build_table(results).rows[1].data["delta"]["top1"]  # type: ignore[index]
    assert "row 2:1, Δ top-1 against 1:1" in text
    assert f"+{delta['mean']:.2f} points" in text and "2 shared seeds, 200 videos" in text
    for row in ("2:1", "1:1"):
        for trial in results.row(row).finished:
            assert trial.key in text and f"{trial.metric('top1'):.6g} %" in text
    for seed, points in delta["per_seed"].items():
        gained, lost = map(int, re.findall(rf"seed {seed}: .*of 200 videos (\d+) gained, (\d+) lost", text)[0])
        assert points == pytest.approx((gained - lost) / 2)
    assert "seed 1: not a pair" in text
    assert "1:2" not in text
    with pytest.raises(ConfigError, match="is the baseline"):
        trace([results], "1:1", name)
    other = replace(results, study="other", table=None, baseline="2:1")
    text = trace([results, other], "1:1", name)
    assert "other, row 1:1, Δ top-1 against 2:1" in text and "Table 5" not in text


def test_a_difference_that_is_not_there_says_why(make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=1, skip={("2:1", 0)})
    assert "no number: no seed of both rows has finished" in trace([results], "2:1", "delta")


def test_accounts_have_units_and_mark_what_is_not_comparable(make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=2)
    text = trace([results], "2:1", "flops")
    assert "123,459,789 multiply-accumulates (123 M)" in text and "e+0" not in text
    assert re.search(
        r"the paper prints 55.4 G \(Something-Something V2, ViT-S.*\)\n  Profile demo: .*not comparable", text
    )
    assert "456,789 parameters (0.457 M)" in trace([results], "2:1", "params")
    assert "12.5 s" in trace([results], "2:1", "seconds") and "0.93 GiB" in trace([results], "2:1", "peak_memory_bytes")
